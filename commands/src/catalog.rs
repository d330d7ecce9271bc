//! The catalog in memory, as new as the log within a second, and the way to change it.
//!
//! Every process holds all of it: it is small, every command needs it, and a change of it is
//! rare. Whoever changes it here sees the change at once.

use std::sync::Arc;
use std::time::Duration;

use domain::catalog::{
    CATALOG, CATALOG_ID, Catalog, CatalogCommand, CatalogContext, CatalogEvent, decide,
};
use domain::{Causes, Clock, Ids, Models, PriceBook, TenantId};
use eventstore::{
    AppendCommand, CommandRecord, EventStore, Position, StoreError, StreamAppend, Verdict,
};
use serde_json::json;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::back_off::back_off;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::new_event::new_event;

/// Decisions on one command before giving up.
const TRIES: u32 = 10;
/// Between looks at what other processes have changed.
const LOOK: Duration = Duration::from_millis(750);

/// The catalog at one version.
#[derive(Debug, Clone, Default)]
pub struct CurrentCatalog {
    /// All of it.
    pub catalog: Arc<Catalog>,
    /// Its models, as decisions see them.
    pub models: Arc<Models>,
    /// Its prices.
    pub prices: Arc<PriceBook>,
    /// How many events it was folded from.
    pub version: i64,
}

impl CurrentCatalog {
    fn new(catalog: Catalog, version: i64) -> Self {
        let (models, prices) = (Arc::new(catalog.models()), Arc::new(catalog.prices.clone()));
        Self { catalog: Arc::new(catalog), models, prices, version }
    }

    /// This with `events` folded in.
    fn after<'a>(&self, events: impl IntoIterator<Item = &'a CatalogEvent>) -> Self {
        let (mut catalog, mut version) = (Catalog::clone(&self.catalog), self.version);
        for event in events {
            catalog.apply(event);
            version += 1;
        }
        Self::new(catalog, version)
    }
}

/// A change of the catalog that was carried out, now or before.
#[derive(Debug, Clone)]
pub struct CatalogExecuted {
    /// The position of its last event; none if there was nothing to change.
    pub position: Option<Position>,
    /// Its events; empty for a repeat.
    pub events: Vec<CatalogEvent>,
    /// The catalog after it.
    pub current: Arc<CurrentCatalog>,
    /// Whether it had been carried out before.
    pub repeated: bool,
}

/// The catalog of the deployment. Clones are the same one.
#[derive(Clone)]
pub struct CatalogHandle(Arc<Shared>);

struct Shared {
    store: EventStore,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    current: watch::Sender<Arc<CurrentCatalog>>,
    /// Changes made here go one by one, so that they don't conflict with each other.
    change: Mutex<()>,
}

impl CatalogHandle {
    /// The catalog as the log has it now.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn load(
        store: EventStore,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self, StoreError> {
        let current = watch::Sender::new(Arc::default());
        let handle = Self(Arc::new(Shared { store, clock, ids, current, change: Mutex::new(()) }));
        handle.catch_up().await?;
        Ok(handle)
    }

    /// The catalog as it is known here.
    pub fn current(&self) -> Arc<CurrentCatalog> {
        Arc::clone(&self.0.current.borrow())
    }

    /// Tells of every change.
    pub fn changed(&self) -> watch::Receiver<Arc<CurrentCatalog>> {
        self.0.current.subscribe()
    }

    /// The catalog as the log has it now.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn catch_up(&self) -> Result<Arc<CurrentCatalog>, StoreError> {
        let known = self.current();
        let events = self.0.store.load::<Catalog>(&CATALOG_ID.to_string(), known.version).await?;
        if events.is_empty() {
            return Ok(known);
        }
        Ok(self.publish(known.after(events.iter().map(|loaded| &loaded.event))))
    }

    /// Keeps up with what other processes change, until `stop`.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut troubled = false;
        while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
            match self.catch_up().await {
                Ok(_) => troubled = false,
                Err(error) if !troubled => {
                    tracing::warn!(error = %Causes(&error), "the catalog can't be followed");
                    troubled = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Decides `command` and appends what follows from it.
    ///
    /// # Errors
    /// When the rules refuse it, its id was used for another one, or the store fails.
    pub async fn execute(
        &self,
        command: &CatalogCommand,
        caller: &Caller,
    ) -> Result<CatalogExecuted, CommandError> {
        let context = CatalogContext { now: self.0.clock.now(), actor: caller.actor.clone() };
        let record = record(command, caller)?;
        let _one_by_one = self.0.change.lock().await;
        for attempt in 0..TRIES {
            // What others have changed counts, also for a refusal.
            let current = self.catch_up().await?;
            let events = match decide(&current.catalog, command, &context) {
                Ok(events) if !events.is_empty() => events,
                without_events => {
                    if let Some(position) = self.first_time(record.as_ref()).await? {
                        return Ok(repeated(position, current));
                    }
                    let (events, position, repeated) = (without_events?, None, false);
                    return Ok(CatalogExecuted { position, events, current, repeated });
                }
            };
            let append = self.append_for(&current, &events, command, caller, record.clone())?;
            match self.0.store.append(append).await? {
                Verdict::Appended { last, .. } | Verdict::Duplicate { last, outcome: None, .. } => {
                    let current = self.publish(current.after(&events));
                    let (position, repeated) = (Some(last), false);
                    return Ok(CatalogExecuted { position, events, current, repeated });
                }
                Verdict::Duplicate { last, outcome: Some(_), .. } => {
                    return Ok(repeated(last, self.catch_up().await?));
                }
                Verdict::Reused => return Err(CommandError::IdReused),
                Verdict::Conflict => back_off(attempt).await,
            }
        }
        Err(CommandError::Contended)
    }

    /// Makes `next` the current one, unless a newer one is; tells which is.
    fn publish(&self, next: CurrentCatalog) -> Arc<CurrentCatalog> {
        let next = Arc::new(next);
        self.0.current.send_if_modified(|current| {
            let newer = current.version < next.version;
            if newer {
                *current = Arc::clone(&next);
            }
            newer
        });
        self.current()
    }

    /// Where the command's events are, if it came before: it may be refused by the very effect
    /// of its first time, or find nothing left to change.
    async fn first_time(
        &self,
        record: Option<&CommandRecord>,
    ) -> Result<Option<Position>, CommandError> {
        let Some(record) = record else { return Ok(None) };
        let tenant = TenantId::deployment();
        let found =
            self.0.store.find_command(tenant.as_str(), &record.user_id, &record.command_id).await?;
        match found {
            None => Ok(None),
            Some(found) if found.request_hash == record.request_hash => {
                Ok(Some(found.last_position))
            }
            Some(_) => Err(CommandError::IdReused),
        }
    }

    fn append_for(
        &self,
        current: &CurrentCatalog,
        events: &[CatalogEvent],
        command: &CatalogCommand,
        caller: &Caller,
        record: Option<CommandRecord>,
    ) -> Result<AppendCommand, CommandError> {
        let metadata = caller.metadata(command.name());
        let new_event =
            |event: &CatalogEvent| new_event(&*self.0.ids, event.name(), event, &metadata);
        let events = events.iter().map(new_event).collect::<Result<Vec<_>, _>>()?;
        let last = events.len().saturating_sub(1);
        let stream = StreamAppend {
            aggregate_type: CATALOG,
            aggregate_id: CATALOG_ID.to_string(),
            expected_version: current.version,
            events,
        };
        Ok(AppendCommand {
            tenant_id: TenantId::deployment().to_string(),
            records: record.into_iter().map(|one| CommandRecord { last, ..one }).collect(),
            streams: vec![stream],
        })
    }
}

/// The record of a command that has an id. The catalog is nobody's tenant's, so its users are
/// told apart by their tenants, too.
fn record(
    command: &CatalogCommand,
    caller: &Caller,
) -> Result<Option<CommandRecord>, CommandError> {
    let outcome = json!({ "command": command.name() });
    let record = caller.record(b"catalog", command, &outcome)?;
    let user_id = format!("{}/{}", caller.actor.tenant_id, caller.actor.user_id);
    Ok(record.map(|record| CommandRecord { user_id, ..record }))
}

fn repeated(position: Position, current: Arc<CurrentCatalog>) -> CatalogExecuted {
    CatalogExecuted { position: Some(position), events: Vec::new(), current, repeated: true }
}
