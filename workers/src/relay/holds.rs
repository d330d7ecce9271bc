//! Ends holds of quota that nobody else ends: those whose time is over, and those whose turns
//! have ended. What their turns use is settled when these end.

use std::collections::HashSet;
use std::time::Duration;

use commands::{Caller, CommandBus, CommandError};
use domain::Causes;
use domain::quota::QuotaCommand;
use eventstore::{EventStore, StoreError};
use projections::OpenHold;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(4);
/// Holds looked after at once.
const LIMIT: u32 = 500;

/// Goes over the holds from time to time, for ever. It runs beside the relay, which must not
/// wait for it.
pub(super) async fn look_after(store: &EventStore, bus: &CommandBus) {
    let mut orphans = HashSet::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let looked = async {
            end_expired(store, bus).await?;
            end_orphans(store, bus, &mut orphans).await
        };
        if let Err(error) = looked.await {
            tracing::warn!(error = %Causes(&error), "holds could not be looked after");
        }
    }
}

/// The rules look at each hold again: it may have been settled or prolonged meanwhile.
async fn end_expired(store: &EventStore, bus: &CommandBus) -> Result<(), StoreError> {
    for hold in projections::expired_holds(store.pool(), bus.clock().now(), LIMIT).await? {
        let reservation_id = hold.reservation_id;
        end(bus, hold, QuotaCommand::ExpireReservation { reservation_id }, "has expired").await;
    }
    Ok(())
}

/// A turn that was ended while an attempt was at it is settled by that attempt, a moment later.
/// If that has not happened by the second look, the attempt is lost.
async fn end_orphans(
    store: &EventStore,
    bus: &CommandBus,
    orphans: &mut HashSet<OpenHold>,
) -> Result<(), StoreError> {
    let found = projections::orphaned_holds(store.pool(), LIMIT).await?;
    for hold in found.iter().filter(|hold| orphans.contains(*hold)).cloned() {
        let (reservation_id, reason) = (hold.reservation_id, "turn_ended".to_owned());
        let command = QuotaCommand::ReleaseReservation { reservation_id, reason };
        end(bus, hold, command, "was left behind by its turn").await;
    }
    *orphans = found.into_iter().collect();
    Ok(())
}

/// One that can't be ended doesn't keep the others.
async fn end(bus: &CommandBus, hold: OpenHold, command: QuotaCommand, what: &str) {
    let id = hold.reservation_id;
    let caller = Caller::system(hold.tenant_id.clone(), id.to_string());
    let owner = (hold.tenant_id, hold.user_id);
    match bus.execute_quota(&owner, vec![command], &caller).await {
        Ok(executed) if executed.position.is_some() => {
            tracing::info!(hold = %id, "a hold of quota {what}");
        }
        Ok(_) => {}
        Err(CommandError::Quota { rejection, .. }) => {
            tracing::debug!(%rejection, hold = %id, "the hold needs no end");
        }
        Err(error) => {
            tracing::warn!(error = %Causes(&error), hold = %id, "a hold could not be ended");
        }
    }
}
