//! Quota at the edge: what requests say about accounts, and what answers do.

pub(crate) mod account;
pub(crate) mod amounts;
pub(crate) mod command;
pub(crate) mod execute;
pub(crate) mod headers;
pub(crate) mod period;
pub(crate) mod refusal;
