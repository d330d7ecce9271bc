//! Commands that do one thing and end.

pub(crate) mod configuration;
pub(crate) mod doctor;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod projections;
pub(crate) mod quota;
pub(crate) mod replay;
pub(crate) mod seed;
