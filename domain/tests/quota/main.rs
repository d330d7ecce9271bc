//! The account's rules, as given/when/then; its events as the log holds them; and what holds
//! after any sequence of commands.

#[cfg(test)]
mod administering;
#[cfg(test)]
mod billing;
#[cfg(test)]
mod chat;
#[cfg(test)]
#[path = "../golden/files.rs"]
mod files;
#[cfg(test)]
mod flat;
#[cfg(test)]
mod given;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod model;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusing;
#[cfg(test)]
mod repricing;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod reserving;
#[cfg(test)]
mod settling;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod thresholds;
#[cfg(test)]
mod view;
#[cfg(test)]
mod windows;
