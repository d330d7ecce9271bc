//! The quota ledger: limits under load, settlement, administration, reports; over several
//! processes, and through crashes.

mod admin;
mod crashes;
mod limits;
mod reading;
mod refusals;
mod repricing;
mod settling;
mod support;
mod thresholds;
