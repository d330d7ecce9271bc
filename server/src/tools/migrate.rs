//! `colloquy migrate`

use eventstore::MigrationState;

use crate::app;
use crate::cli::Migrate;
use crate::config::Config;
use crate::error::ServerError;
use crate::output::{say, table};

pub(crate) async fn run(config: &Config, command: &Migrate) -> Result<(), ServerError> {
    let pool = app::tool_pool(config)?;
    let before = eventstore::migrations(&pool).await?;
    let applied: Vec<i64> = before
        .iter()
        .filter(|one| one.state != MigrationState::Pending)
        .map(|one| one.version)
        .collect();
    match command {
        Migrate::Status => {
            let rows: Vec<Vec<String>> = before
                .iter()
                .map(|one| {
                    let state = match one.state {
                        MigrationState::Applied => "applied",
                        MigrationState::Pending => "pending",
                        MigrationState::Differs => "differs from this binary's",
                        MigrationState::Unknown => "unknown to this binary",
                    };
                    vec![format!("{:04}", one.version), one.name.clone(), state.to_owned()]
                })
                .collect();
            table(&["VERSION", "NAME", "STATE"], &rows);
        }
        Migrate::Up => {
            eventstore::migrate_up(&pool).await?;
            let count = before.len() - applied.len();
            say(&format!("{count} migrations applied"));
        }
        Migrate::Down { to } => {
            let mut versions = applied;
            versions.sort_unstable();
            let previous = versions.iter().rev().nth(1).copied().unwrap_or(0);
            let target = to.unwrap_or(previous);
            eventstore::migrate_down(&pool, target).await?;
            let count = versions.iter().filter(|version| **version > target).count();
            say(&format!("{count} migrations taken back"));
        }
    }
    Ok(())
}
