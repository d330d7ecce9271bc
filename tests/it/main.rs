//! The integration tests: the real binary, in several processes, on a real Postgres and a real
//! NATS. One binary, so that Postgres and the processes that most tests share start only once.

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod backpressure;
#[cfg(test)]
mod catalog;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod disconnects;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod expendable;
#[cfg(test)]
mod fallbacks;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod followers;
#[cfg(test)]
mod handover;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod leaders;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod load;
#[cfg(test)]
mod openai;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod postgres_trouble;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod quota;
#[cfg(test)]
mod quota_tool;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod stopping;
#[cfg(test)]
mod support;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod webhooks;
