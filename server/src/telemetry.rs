//! Logs: text for a person, JSON for a machine.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};
use crate::error::ServerError;

/// Starts logging to standard error, so that a command's output stays clean.
pub(crate) fn start(log: &Log) -> Result<(), ServerError> {
    // Libraries that report each lost connection many times over; the configured filter,
    // which comes later, can still ask for more.
    let filter = EnvFilter::try_new(format!("sqlx=error,async_nats=warn,{}", log.filter))
        .map_err(|_| ServerError::Filter(log.filter.clone()))?;
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // Told on standard error, too, where failing is a panic: a reader of the log that goes
        // away must not take tasks with it.
        .log_internal_errors(false);
    // A second start (in a test) keeps the first one's settings.
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
    Ok(())
}
