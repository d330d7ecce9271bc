//! How to run a private Postgres: the two ways that are needed, and what may differ.

use std::path::PathBuf;

use crate::find::Source;

/// How to run a private Postgres.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The data folder; Postgres uses `postgres/` in it.
    pub folder: PathBuf,
    /// More settings, as after `postgres -c`; they win over the built-in ones.
    pub settings: Vec<(String, String)>,
    /// Where the programs come from.
    pub source: Source,
    /// Whether the data is to survive a power cut right after the first start.
    pub(super) durable_setup: bool,
}

impl PostgresOptions {
    /// For data that stays: found again at the next start.
    pub fn lasting(folder: impl Into<PathBuf>) -> Self {
        let settings = vec![("shared_buffers".into(), "256MB".into())];
        let source = Source::from_environment();
        Self { folder: folder.into(), settings, source, durable_setup: true }
    }

    /// For a test: small and quick to set up. Commits are as durable as elsewhere.
    pub fn temporary(folder: impl Into<PathBuf>) -> Self {
        let settings = vec![("shared_buffers".into(), "64MB".into())];
        let source = Source::from_environment();
        Self { folder: folder.into(), settings, source, durable_setup: false }
    }

    /// Adds a setting, as `postgres -c name=value` does.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }
}
