//! `colloquy seed`: brings the catalog to what the configuration says, as every start does.

use eventstore::EventStore;

use crate::config::Config;
use crate::error::ServerError;
use crate::output::say;
use crate::{app, catalog};

pub(crate) async fn run(config: &Config, prune: bool) -> Result<(), ServerError> {
    let pool = app::tool_pool(config).await?;
    app::check_schema(&pool).await?;
    let store = EventStore::new(pool);
    let seeded = catalog::seeded(&store, config, prune).await;
    store.close().await;
    let (_, executed) = seeded?;
    if executed.events.is_empty() {
        say("the catalog is as the configuration says; nothing was changed");
    }
    for event in &executed.events {
        say(&catalog::describe(event));
    }
    Ok(())
}
