//! The command bus: what it is made of. Carrying out stands in `execute.rs` (sessions) and
//! `quota.rs` (accounts).

use std::sync::Arc;

use domain::quota::{QuotaContext, QuotaPolicy};
use domain::session::AttemptLimits;
use domain::{Clock, Ids, TenantId, UserId};
use eventstore::{CommandRecord, EventStore, Position};

use crate::cache::SessionCache;
use crate::caller::Caller;
use crate::catalog::CatalogHandle;
use crate::error::CommandError;
use crate::lane::Lanes;

/// Carries commands out. Clones share the caches.
#[derive(Clone)]
pub struct CommandBus {
    pub(crate) store: EventStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) catalog: CatalogHandle,
    pub(crate) policy: Arc<QuotaPolicy>,
    pub(crate) attempts: AttemptLimits,
    pub(crate) sessions: Arc<SessionCache>,
    pub(crate) lanes: Lanes,
}

impl CommandBus {
    /// A bus on `store`, with the default limits of attempts.
    pub fn new(
        store: EventStore,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        catalog: CatalogHandle,
        policy: Arc<QuotaPolicy>,
    ) -> Self {
        let sessions = Arc::new(SessionCache::new());
        let lanes = Lanes::new(store.clone(), Arc::clone(&ids));
        let attempts = AttemptLimits::default();
        Self { store, clock, ids, catalog, policy, attempts, sessions, lanes }
    }

    /// The same with these limits of how often a turn is tried.
    #[must_use]
    pub fn with_attempt_limits(self, attempts: AttemptLimits) -> Self {
        Self { attempts, ..self }
    }

    /// Models, providers and prices.
    pub fn catalog(&self) -> &CatalogHandle {
        &self.catalog
    }

    /// The rules for accounts.
    pub fn policy(&self) -> &Arc<QuotaPolicy> {
        &self.policy
    }

    /// The clock that commands are timed by.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The source of ids.
    pub fn ids(&self) -> &dyn Ids {
        &*self.ids
    }

    /// What a command to the account of `owner` is decided with.
    pub(crate) fn quota_context(
        &self,
        owner: &(TenantId, UserId),
        caller: &Caller,
    ) -> QuotaContext {
        let own = caller.actor.tenant_id == owner.0 && caller.actor.user_id == owner.1;
        QuotaContext {
            now: self.clock.now(),
            actor: caller.actor.clone(),
            owner: owner.clone(),
            named_tier: caller.named_tier.clone().filter(|_| own),
            policy: Arc::clone(&self.policy),
            prices: Arc::clone(&self.catalog.current().prices),
        }
    }

    /// What the command did when it first came: its answer and its position. A repeat may be
    /// refused by the very effect of its first time, or find nothing left to change; then the
    /// first answer counts.
    pub(crate) async fn first_time(
        &self,
        caller: &Caller,
        record: Option<&CommandRecord>,
    ) -> Result<Option<(String, Position)>, CommandError> {
        let Some(record) = record else { return Ok(None) };
        let tenant = caller.actor.tenant_id.as_str();
        let found = self.store.find_command(tenant, &record.user_id, &record.command_id).await?;
        match found {
            None => Ok(None),
            Some(found) if found.request_hash == record.request_hash => {
                Ok(Some((found.outcome.get().to_owned(), found.last_position)))
            }
            Some(_) => Err(CommandError::IdReused),
        }
    }
}
