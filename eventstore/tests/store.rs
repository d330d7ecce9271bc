//! The event store against a real Postgres: what it promises under races, crashes, cut
//! connections, impatient callers and bad input; and its snapshots.

#[cfg(test)]
#[path = "store/basics.rs"]
mod basics;
#[cfg(test)]
#[path = "store/checks.rs"]
mod checks;
#[cfg(test)]
#[path = "store/compatibility.rs"]
mod compatibility;
#[cfg(test)]
#[path = "store/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "store/groups.rs"]
mod groups;
#[cfg(test)]
#[path = "store/proxy.rs"]
mod proxy;
#[cfg(test)]
#[path = "store/races.rs"]
mod races;
#[cfg(test)]
#[path = "store/snapshots.rs"]
mod snapshots;
#[cfg(test)]
#[path = "store/support.rs"]
mod support;
#[cfg(test)]
#[path = "store/trouble.rs"]
mod trouble;
#[cfg(test)]
#[path = "store/writers.rs"]
mod writers;
