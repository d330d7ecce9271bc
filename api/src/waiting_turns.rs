//! How many turns wait for a worker, and how many may.
//!
//! They are counted in the read model once a second, or sooner where that may make room. What was
//! accepted here and isn't in the read model yet is added. So the limits hold about, not exactly:
//! several nodes don't know of each other's last second.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use domain::{Causes, TenantId};
use eventstore::{Database, Position};
use tokio::time::Instant;

use crate::error::ApiError;

/// Between two counts.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same where only what was accepted since would be too much: most of that may have ended.
const SOONER: Duration = Duration::from_millis(100);
/// Seconds after which a refused client may try again.
const RETRY_AFTER: u64 = 5;

/// How many turns may wait.
#[derive(Debug, Clone, Copy)]
pub struct WaitingLimits {
    /// Of one tenant.
    pub per_tenant: u64,
    /// Of all.
    pub in_all: u64,
}

/// The turns that wait. Clones are the same ones.
#[derive(Clone)]
pub struct WaitingTurns(Arc<Shared>);

struct Shared {
    database: Database,
    limits: WaitingLimits,
    known: Mutex<Known>,
    /// Held while they are counted.
    counting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// At the last count.
    counted: Numbers,
    /// Accepted here and not in that count, or about to be accepted.
    since: Numbers,
    /// Where the accepted ones stand in the log.
    accepted: BTreeMap<Position, TenantId>,
    tried_at: Option<Instant>,
}

/// What is known of the room for a tenant's turn.
enum Standing {
    /// Nothing was counted yet.
    Unknown,
    /// There was some.
    Room,
    /// There was some, and as much was accepted since.
    SeemsFull,
    /// There was none.
    Full,
}

#[derive(Default)]
struct Numbers {
    tenants: HashMap<TenantId, u64>,
    all: u64,
}

/// A turn that is about to wait; it doesn't if this is dropped.
pub(crate) struct Place {
    waiting: WaitingTurns,
    tenant: TenantId,
    taken: bool,
}

impl WaitingTurns {
    /// Those that `database`'s read models know of.
    pub fn new(database: Database, limits: WaitingLimits) -> Self {
        let (known, counting) = (Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Shared { database, limits, known, counting }))
    }

    /// A place for one more turn of `tenant`.
    pub(crate) async fn place(&self, tenant: &TenantId) -> Result<Place, ApiError> {
        match self.standing(tenant) {
            Standing::Unknown | Standing::Full => self.count(INTERVAL).await,
            Standing::SeemsFull => self.count(SOONER).await,
            Standing::Room => self.count_beside(),
        }
        let mut known = self.known();
        if let Some(refusal) = self.refusal(&known, tenant) {
            return Err(refusal);
        }
        known.since.add(tenant);
        Ok(Place { waiting: self.clone(), tenant: tenant.clone(), taken: false })
    }

    fn standing(&self, tenant: &TenantId) -> Standing {
        let (known, limits) = (self.known(), self.0.limits);
        if known.tried_at.is_none() {
            Standing::Unknown
        } else if self.refusal(&known, tenant).is_none() {
            Standing::Room
        } else if known.counted.of(tenant) >= limits.per_tenant
            || known.counted.all >= limits.in_all
        {
            Standing::Full
        } else {
            Standing::SeemsFull
        }
    }

    /// Counts without making anybody wait for it.
    fn count_beside(&self) {
        if self.known().is_old(INTERVAL) {
            let waiting = self.clone();
            tokio::spawn(async move { waiting.count(INTERVAL).await });
        }
    }

    /// Counts, unless that was done less than `interval` ago.
    async fn count(&self, interval: Duration) {
        if !self.known().is_old(interval) {
            return;
        }
        let _one = self.0.counting.lock().await;
        {
            let mut known = self.known();
            if !known.is_old(interval) {
                return;
            }
            known.tried_at = Some(Instant::now());
        }
        match projections::waiting_turns(&self.0.database).await {
            Ok((position, counted)) => self.known().counted(position, counted),
            // It is no reason to refuse anything.
            Err(error) => {
                tracing::debug!(error = %Causes(&error), "waiting turns can't be counted");
            }
        }
    }

    fn refusal(&self, known: &Known, tenant: &TenantId) -> Option<ApiError> {
        let WaitingLimits { per_tenant, in_all } = self.0.limits;
        let (status, whose) = if known.of(tenant) >= per_tenant {
            (StatusCode::TOO_MANY_REQUESTS, "your tenant's turns")
        } else if known.all() >= in_all {
            (StatusCode::SERVICE_UNAVAILABLE, "turns")
        } else {
            return None;
        };
        let detail = format!("too many of {whose} wait for a worker already; try again later");
        let error = ApiError::new(status, "queue_full", detail);
        Some(ApiError { retry_after: Some(RETRY_AFTER), ..error })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The turn was accepted at `position`.
    pub(crate) fn take(mut self, position: Position) {
        self.taken = true;
        self.waiting.known().accepted.insert(position, self.tenant.clone());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.taken {
            self.waiting.known().since.subtract(&self.tenant);
        }
    }
}

impl Known {
    fn is_old(&self, interval: Duration) -> bool {
        self.tried_at.is_none_or(|at| at.elapsed() >= interval)
    }

    fn of(&self, tenant: &TenantId) -> u64 {
        self.counted.of(tenant) + self.since.of(tenant)
    }

    fn all(&self) -> u64 {
        self.counted.all + self.since.all
    }

    /// Takes in a count that has what was accepted up to `position`.
    fn counted(&mut self, position: Position, counted: Vec<(TenantId, u64)>) {
        let all = counted.iter().map(|(_, number)| number).sum();
        self.counted = Numbers { tenants: counted.into_iter().collect(), all };
        let later = self.accepted.split_off(&position.saturating_add(1));
        for tenant in std::mem::replace(&mut self.accepted, later).values() {
            self.since.subtract(tenant);
        }
    }
}

impl Numbers {
    fn of(&self, tenant: &TenantId) -> u64 {
        self.tenants.get(tenant).copied().unwrap_or_default()
    }

    fn add(&mut self, tenant: &TenantId) {
        *self.tenants.entry(tenant.clone()).or_default() += 1;
        self.all += 1;
    }

    fn subtract(&mut self, tenant: &TenantId) {
        let Some(number) = self.tenants.get_mut(tenant) else { return };
        *number -= 1;
        self.all -= 1;
        if *number == 0 {
            self.tenants.remove(tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    fn accept(known: &mut Known, tenant: &TenantId, position: Position) {
        known.since.add(tenant);
        known.accepted.insert(position, tenant.clone());
    }

    #[test]
    fn a_count_takes_the_place_of_what_it_has() {
        let (acme, other) = (tenant("acme"), tenant("other"));
        let mut known = Known::default();
        accept(&mut known, &acme, 7);
        accept(&mut known, &acme, 9);
        accept(&mut known, &other, 12);
        // One is on its way to the log.
        known.since.add(&other);
        assert_eq!((known.of(&acme), known.of(&other), known.all()), (2, 2, 4));
        known.counted(9, vec![(acme.clone(), 10)]);
        assert_eq!((known.of(&acme), known.of(&other), known.all()), (10, 2, 12));
        known.counted(12, Vec::new());
        known.since.subtract(&other);
        assert_eq!((known.all(), known.since.tenants.len(), known.accepted.len()), (0, 0, 0));
    }
}
