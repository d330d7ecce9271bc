//! Ends holds of quota whose time is over, by an event. What their turns use is settled when
//! these end.

use std::time::Duration;

use commands::{Caller, CommandBus, CommandError};
use domain::Causes;
use domain::quota::QuotaCommand;
use eventstore::{EventStore, StoreError};
use projections::ExpiredHold;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// Holds looked after at once.
const LIMIT: u32 = 500;

/// Goes over the holds from time to time, for ever. It runs beside the relay, which must not
/// wait for it.
pub(crate) async fn look_after(store: &EventStore, bus: &CommandBus) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(error) = end_expired(store, bus).await {
            tracing::warn!(error = %Causes(&error), "holds could not be looked after");
        }
    }
}

/// The rules look at each hold again: it may have been settled or prolonged meanwhile. One that
/// can't be ended doesn't keep the others.
async fn end_expired(store: &EventStore, bus: &CommandBus) -> Result<(), StoreError> {
    let holds = projections::expired_holds(store.pool(), bus.clock().now(), LIMIT).await?;
    for hold in holds {
        let id = hold.reservation_id;
        match end(bus, hold).await {
            Ok(true) => tracing::info!(hold = %id, "a hold of quota has expired"),
            Ok(false) => {}
            Err(CommandError::Quota { rejection, .. }) => {
                tracing::debug!(%rejection, hold = %id, "the hold needs no end");
            }
            Err(error) => {
                tracing::warn!(error = %Causes(&error), hold = %id, "a hold could not be ended");
            }
        }
    }
    Ok(())
}

/// Whether there was something to end.
async fn end(bus: &CommandBus, hold: ExpiredHold) -> Result<bool, CommandError> {
    let caller = Caller::system(hold.tenant_id.clone(), hold.reservation_id.to_string());
    let command = QuotaCommand::ExpireReservation { reservation_id: hold.reservation_id };
    let owner = (hold.tenant_id, hold.user_id);
    let executed = bus.execute_quota(&owner, vec![command], &caller).await?;
    Ok(executed.position.is_some())
}
