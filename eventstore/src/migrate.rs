//! Migrations, embedded in the binary and reversible.

use sqlx::migrate::{Migrate, Migrator};

use crate::database::Database;
use crate::error::StoreError;

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// Whether a migration is in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// It is.
    Applied,
    /// It isn't yet.
    Pending,
    /// It is, but with another text than this binary has.
    Differs,
    /// It is, but this binary doesn't know it: the database is of a newer one.
    Unknown,
}

/// One migration.
#[derive(Debug, Clone)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: MigrationState,
}

/// All migrations of this binary, and those it finds in the database, and where each stands.
pub async fn migrations(database: &Database) -> Result<Vec<Migration>, StoreError> {
    let trouble = |error| StoreError::from_sqlx("connect", error);
    let mut lease = database.acquire().await.map_err(trouble)?;
    let connection = lease.connection().map_err(trouble)?;
    connection.ensure_migrations_table().await.map_err(StoreError::Migrate)?;
    let applied = connection.list_applied_migrations().await.map_err(StoreError::Migrate)?;
    let known = MIGRATOR.iter().filter(|migration| !migration.migration_type.is_down_migration());
    let unknown = applied.iter().filter(|found| !MIGRATOR.version_exists(found.version));
    let unknown = unknown.map(|found| Migration {
        version: found.version,
        name: "(unknown)".to_owned(),
        state: MigrationState::Unknown,
    });
    Ok(known
        .map(|migration| {
            let found = applied.iter().find(|applied| applied.version == migration.version);
            let state = match found {
                None => MigrationState::Pending,
                Some(found) if found.checksum == migration.checksum => MigrationState::Applied,
                Some(_) => MigrationState::Differs,
            };
            Migration { version: migration.version, name: migration.description.to_string(), state }
        })
        .chain(unknown)
        .collect())
}

/// Applies what is pending. Several processes may do so at once: the database's advisory lock
/// lets one go first.
pub async fn migrate_up(database: &Database) -> Result<(), StoreError> {
    MIGRATOR.run(&**database).await.map_err(StoreError::Migrate)
}

/// Takes back every migration after `version`; 0 takes back all, with all data.
pub async fn migrate_down(database: &Database, version: i64) -> Result<(), StoreError> {
    MIGRATOR.undo(&**database, version).await.map_err(StoreError::Migrate)
}
