//! API keys: made, listed and revoked here.
//!
//! Only a key's hash is kept. Every process keeps keys it found good for at most a second,
//! counted from before it asked the database; [`ApiKeys::revoke`] therefore returns that long
//! after the revocation was written, and by then the key is refused by every process, without
//! any message between them.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{ActorRole, Clock, Ids, TenantId, UserId};
use eventstore::Database;
use sqlx::FromRow;
use uuid::Uuid;

use crate::auth::key_cache::{KeyCache, LIFE};
use crate::auth::key_secret;

/// Characters of a key's name, and of its tier's.
const MAX_NAME_CHARS: usize = 100;

/// The API keys of the deployment. Clones share their cache.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    pub(super) database: Database,
    pub(super) cache: Arc<KeyCache>,
}

/// Whom a new key is to speak for.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The user.
    pub user_id: UserId,
    /// What it may do: `User` or `Admin`.
    pub role: ActorRole,
    /// The tier that it names for an account that opens; its role's name, if none.
    pub tier: Option<String>,
    /// What it is for, in a person's words.
    pub name: String,
}

/// A key just made: the only time that its secret is to be seen.
#[derive(Clone)]
pub struct NewKey {
    /// The key's id, by which it is revoked.
    pub id: Uuid,
    /// Its first characters, as lists show them.
    pub prefix: String,
    /// The key itself.
    pub secret: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("id", &self.id)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What may be told of a key.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct KeyInfo {
    /// Its id.
    pub id: Uuid,
    /// Its first characters.
    pub prefix: String,
    /// What it is for.
    pub name: String,
    /// Its tenant.
    pub tenant_id: String,
    /// Its user.
    pub user_id: String,
    /// `user` or `admin`.
    pub role: String,
    /// The tier that it names.
    pub tier: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A change of keys that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The name is empty, too long or not printable.
    #[error("a key's name must be 1 to {MAX_NAME_CHARS} printable characters")]
    InvalidName,
    /// So is the tier's.
    #[error("a tier's name must be 1 to {MAX_NAME_CHARS} printable characters")]
    InvalidTier,
    /// A role that no key may have, or a user or tenant that is none.
    #[error("a key can't speak for Colloquy itself")]
    Reserved,
    /// The database.
    #[error("API keys can't be read or written")]
    Database(#[source] sqlx::Error),
}

impl ApiKeys {
    /// The keys in `database`.
    pub fn new(database: impl Into<Database>) -> Self {
        Self { database: database.into(), cache: Arc::default() }
    }

    /// Makes a key.
    pub async fn create(
        &self,
        request: &KeyRequest,
        clock: &dyn Clock,
        ids: &dyn Ids,
    ) -> Result<NewKey, ApiKeyError> {
        if !is_name(&request.name) {
            return Err(ApiKeyError::InvalidName);
        }
        if request.tier.as_deref().is_some_and(|tier| !is_name(tier)) {
            return Err(ApiKeyError::InvalidTier);
        }
        let role = role_name(request)?;
        let (secret, hash) = key_secret::generate();
        let key = NewKey {
            id: ids.next(),
            prefix: key_secret::prefix(&secret),
            secret,
            created_at: clock.now(),
        };
        sqlx::query(
            "INSERT INTO api_keys
                 (id, hash, prefix, name, tenant_id, user_id, role, tier, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(key.id)
        .bind(hash.as_slice())
        .bind(&key.prefix)
        .bind(&request.name)
        .bind(request.tenant_id.as_str())
        .bind(request.user_id.as_str())
        .bind(role)
        .bind(&request.tier)
        .bind(key.created_at)
        .execute(&self.database)
        .await
        .map_err(ApiKeyError::Database)?;
        Ok(key)
    }

    /// All keys, or those of one tenant, the newest first; revoked ones too.
    pub async fn list(&self, tenant: Option<&TenantId>) -> Result<Vec<KeyInfo>, ApiKeyError> {
        sqlx::query_as(
            "SELECT id, prefix, name, tenant_id, user_id, role, tier, created_at, revoked_at
             FROM api_keys WHERE $1::text IS NULL OR tenant_id = $1
             ORDER BY created_at DESC, id DESC",
        )
        .bind(tenant.map(TenantId::as_str))
        .fetch_all(&self.database)
        .await
        .map_err(ApiKeyError::Database)
    }

    /// Revokes a key, of `tenant` alone if one is given, and tells whether there is such a key.
    /// Doing it again changes nothing.
    ///
    /// It takes a second: when it returns, no process accepts the key any more.
    pub async fn revoke(
        &self,
        id: Uuid,
        tenant: Option<&TenantId>,
        clock: &dyn Clock,
    ) -> Result<bool, ApiKeyError> {
        let revoked = sqlx::query(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3)
             WHERE id = $1 AND ($2::text IS NULL OR tenant_id = $2)",
        )
        .bind(id)
        .bind(tenant.map(TenantId::as_str))
        .bind(clock.now())
        .execute(&self.database)
        .await
        .map_err(ApiKeyError::Database)?;
        if revoked.rows_affected() == 0 {
            return Ok(false);
        }
        tokio::time::sleep(LIFE).await;
        Ok(true)
    }
}

fn is_name(name: &str) -> bool {
    let printable = !name.trim().is_empty() && !name.chars().any(char::is_control);
    printable && name.chars().count() <= MAX_NAME_CHARS
}

fn reserved(request: &KeyRequest) -> bool {
    request.user_id == UserId::system() || request.tenant_id == TenantId::deployment()
}

fn role_name(request: &KeyRequest) -> Result<&'static str, ApiKeyError> {
    match request.role {
        _ if reserved(request) => Err(ApiKeyError::Reserved),
        ActorRole::User => Ok("user"),
        ActorRole::Admin => Ok("admin"),
        ActorRole::System => Err(ApiKeyError::Reserved),
    }
}
