//! The command bus on a real Postgres, with a clock that is set by hand: what it promises of
//! quota under load, in several processes at once, and when something goes wrong.

#[cfg(test)]
mod books;
#[cfg(test)]
mod catalog;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod group_ids;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod holds;
#[cfg(test)]
mod hot;
#[cfg(test)]
mod log;
#[cfg(test)]
mod midnight;
#[cfg(test)]
mod old_accounts;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod repeats;
#[cfg(test)]
mod replaying;
#[cfg(test)]
mod room;
#[cfg(test)]
mod server;
#[cfg(test)]
mod settling;
#[cfg(test)]
mod stale;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod world;
