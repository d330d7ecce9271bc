//! The session's rules, as given/when/then; its events as the log holds them; and what holds
//! after any sequence of commands.

#[cfg(test)]
mod attempts;
#[cfg(test)]
mod cancelling;
#[cfg(test)]
mod completions;
#[cfg(test)]
mod creating;
#[cfg(test)]
#[path = "../golden/files.rs"]
mod files;
#[cfg(test)]
mod given;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod history;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod retrying;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod updating;
