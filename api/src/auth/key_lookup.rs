//! Checking an API key: by the cache, or by one look-up of its hash.

use std::str::FromStr;
use std::time::Duration;

use domain::{Actor, ActorRole, TenantId, UserId};
use eventstore::Database;
use sqlx::FromRow;
use tokio::time::{Instant, timeout};

use crate::auth::api_keys::ApiKeys;
use crate::auth::error::{AuthError, Unavailable};
use crate::auth::identity::Identity;
use crate::auth::key_cache::LIFE;
use crate::auth::key_secret::{self, KeyHash};

/// How long a caller waits for the database.
const DEADLINE: Duration = Duration::from_secs(5);

impl ApiKeys {
    /// Whom `secret` speaks for.
    pub(super) async fn authenticate(&self, secret: &str) -> Result<Identity, AuthError> {
        let hash = key_secret::hash(secret).ok_or(AuthError::UnknownKey)?;
        if let Some(identity) = self.cache.get(&hash, Instant::now()) {
            return Ok(identity);
        }
        let (found, asked) = timeout(DEADLINE, look_up(&self.database, &hash))
            .await
            .map_err(|_| AuthError::Unavailable(Unavailable::Slow))?
            .map_err(|error| AuthError::Unavailable(Unavailable::Database(error)))?;
        match found {
            Some(key) if !key.revoked => {
                let identity = key
                    .identity()
                    .map_err(|error| AuthError::Unavailable(Unavailable::Database(error)))?;
                self.cache.insert(hash, identity.clone(), asked);
                Ok(identity)
            }
            Some(_) => {
                self.cache.remove(&hash);
                Err(AuthError::RevokedKey)
            }
            None => {
                self.cache.remove(&hash);
                Err(AuthError::UnknownKey)
            }
        }
    }
}

#[derive(FromRow)]
struct FoundKey {
    tenant_id: String,
    user_id: String,
    role: String,
    tier: Option<String>,
    revoked: bool,
}

impl FoundKey {
    fn identity(self) -> Result<Identity, sqlx::Error> {
        let decode = |error: domain::InvalidId| sqlx::Error::Decode(Box::new(error));
        let actor = Actor {
            tenant_id: TenantId::from_str(&self.tenant_id).map_err(decode)?,
            user_id: UserId::from_str(&self.user_id).map_err(decode)?,
            // The table allows no third role.
            role: if self.role == "admin" { ActorRole::Admin } else { ActorRole::User },
        };
        // As of a JWT.
        Ok(Identity { actor, named_tier: self.tier.or(Some(self.role)) })
    }
}

/// The key, and when the database was asked.
///
/// An answer that took longer than [`LIFE`] is asked for again: a revocation may have returned
/// meanwhile, and its promise is that the key is good no more. Waiting for a connection does
/// not count.
async fn look_up(
    database: &Database,
    hash: &KeyHash,
) -> Result<(Option<FoundKey>, Instant), sqlx::Error> {
    let mut lease = database.acquire().await?;
    let connection = lease.connection()?;
    loop {
        let asked = Instant::now();
        let found = sqlx::query_as(
            "SELECT tenant_id, user_id, role, tier, revoked_at IS NOT NULL AS revoked
             FROM api_keys WHERE hash = $1",
        )
        .bind(hash.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
        if asked.elapsed() < LIFE {
            return Ok((found, asked));
        }
    }
}
