//! `colloquy migrate`

use eventstore::{Database, Migration, MigrationState};

use crate::app;
use crate::cli::Migrate;
use crate::config::Config;
use crate::error::ServerError;
use crate::output::{complain, say, table};

pub(crate) async fn run(config: &Config, command: &Migrate) -> Result<(), ServerError> {
    let pool = app::tool_pool(config).await?;
    let migrations = eventstore::migrations(&pool).await?;
    match command {
        Migrate::Status => status(&migrations),
        Migrate::Up => {
            eventstore::migrate_up(&pool).await?;
            let pending =
                migrations.iter().filter(|one| one.state == MigrationState::Pending).count();
            say(&format!("{pending} migrations applied"));
        }
        Migrate::Down { to } => down(&pool, migrations, *to).await?,
    }
    Ok(())
}

fn status(migrations: &[Migration]) {
    let row = |one: &Migration| {
        let state = match one.state {
            MigrationState::Applied => "applied",
            MigrationState::Pending => "pending",
            MigrationState::Differs => "differs from this binary's",
            MigrationState::Unknown => "unknown to this binary",
        };
        vec![format!("{:04}", one.version), one.name.clone(), state.to_owned()]
    };
    let rows: Vec<Vec<String>> = migrations.iter().map(row).collect();
    table(&["VERSION", "NAME", "STATE"], &rows);
}

/// Says what it takes back before it does; asks nothing, as scripts use it.
async fn down(
    pool: &Database,
    migrations: Vec<Migration>,
    to: Option<i64>,
) -> Result<(), ServerError> {
    let mut applied = migrations;
    applied.retain(|one| one.state != MigrationState::Pending);
    applied.sort_unstable_by_key(|one| std::cmp::Reverse(one.version));
    let target = to.unwrap_or_else(|| applied.get(1).map_or(0, |previous| previous.version));
    applied.retain(|one| one.version > target);
    if target == 0 && !applied.is_empty() {
        complain("warning: this takes back all migrations: every table and ALL DATA go");
    }
    for one in &applied {
        say(&format!("taking back {:04} {}, with the data in its tables", one.version, one.name));
    }
    eventstore::migrate_down(pool, target).await?;
    say(&format!("{} migrations taken back", applied.len()));
    Ok(())
}
