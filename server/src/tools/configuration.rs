//! `colloquy config`: reading it is checking it; the rest that a start makes of it is made here
//! too, so that what is good here is good there.

use crate::app;
use crate::config::Config;
use crate::error::ServerError;
use crate::output::{complain, say};

pub(crate) fn check(config: &Config) -> Result<(), ServerError> {
    app::worker_id(config)?;
    app::authenticator(config, app::unconnected_pool()?)?;
    for (name, url) in [("DATABASE_URL", &config.database.url), ("NATS_URL", &config.nats.url)] {
        if url.is_none() {
            complain(&format!("{name} is not set: `colloquy serve` needs it, `colloquy dev` not"));
        }
    }
    let seed = config.seed();
    let models: Vec<&str> = seed.models.iter().map(|model| model.name.as_str()).collect();
    say(&match models.as_slice() {
        [] => "the configuration is good; it names no models".to_owned(),
        models => format!("the configuration is good; models: {}", models.join(", ")),
    });
    Ok(())
}

pub(crate) fn show(config: &Config) -> Result<(), ServerError> {
    say(&serde_json::to_string_pretty(config)?);
    Ok(())
}
