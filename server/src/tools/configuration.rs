//! `colloquy config`: reading it is checking it; what can't be built is found here.

use std::sync::Arc;

use crate::config::Config;
use crate::error::ServerError;
use crate::output::say;

pub(crate) fn check(config: &Config) -> Result<(), ServerError> {
    let catalog = Arc::new(config.catalog()?);
    let models: Vec<&str> = catalog.models.iter().map(|model| model.name.as_str()).collect();
    say(&format!("the configuration is good; models: {}", models.join(", ")));
    Ok(())
}

pub(crate) fn show(config: &Config) -> Result<(), ServerError> {
    say(&serde_json::to_string_pretty(config)?);
    Ok(())
}
