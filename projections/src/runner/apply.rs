//! One batch, one transaction: rows and checkpoint together, or neither.

use eventstore::{Database, Lease, StoreError, within};
use sqlx::{Connection, PgConnection};

use crate::batch::{Target, concerns, is_refusal};
use crate::checkpoint::State;
use crate::deadline::{BATCH, CAREFUL};
use crate::event::Event;
use crate::parked::Parked;
use crate::projection::Projection;
use crate::read_model::ReadModel;

/// What became of a batch.
pub(super) enum Applied {
    /// It is in.
    Done,
    /// Another process has moved the checkpoint meanwhile.
    Lost,
}

/// A connection of the runner's own. It is dropped, not given back, when anything goes wrong,
/// so no transaction is ever left open in the pool.
pub(super) async fn connect(pool: &Database) -> Result<PgConnection, StoreError> {
    let lease = pool.acquire().await;
    lease.and_then(Lease::detach).map_err(|error| StoreError::from_sqlx("connect", error))
}

/// Reads where the projection stands.
pub(super) async fn load(
    connection: &mut PgConnection,
    model: ReadModel,
) -> Result<State, StoreError> {
    within(BATCH, State::load(connection, model))
        .await
        .map_err(|error| StoreError::from_sqlx("read a checkpoint", error))
}

/// Folds `events`, which follow `state` without a hole. When the database refuses what they
/// make, the event to blame is found and parked.
pub(super) async fn apply<P: Projection>(
    target: &Target<P>,
    connection: &mut PgConnection,
    state: &mut State,
    events: &[&Event],
) -> Result<Applied, StoreError> {
    let tried = match within(BATCH, transact(target, connection, state, events, false)).await {
        Err(error) if is_refusal(&error) => {
            within(CAREFUL, transact(target, connection, state, events, true)).await
        }
        tried => tried,
    };
    let tried = tried.map_err(|error| StoreError::from_sqlx("fold events", error))?;
    let Some(parked) = tried else {
        return Ok(Applied::Lost);
    };
    state.position = events.last().map_or(state.position, |event| event.position);
    for event in parked {
        event.report(P::MODEL.name());
        state.parked.insert(event.stream);
    }
    Ok(Applied::Done)
}

/// None when the checkpoint is no longer where `state` says.
async fn transact<P: Projection>(
    target: &Target<P>,
    connection: &mut PgConnection,
    state: &State,
    events: &[&Event],
    careful: bool,
) -> Result<Option<Vec<Parked>>, sqlx::Error> {
    let position = events.last().map_or(state.position, |event| event.position);
    if !events.iter().any(|event| concerns::<P>(event)) {
        // Nothing to fold: the checkpoint moves alone.
        return Ok(state.move_to(connection, P::MODEL, position).await?.then(Vec::new));
    }
    let mut transaction = connection.begin().await?;
    if !state.move_to(&mut transaction, P::MODEL, position).await? {
        transaction.rollback().await?;
        return Ok(None);
    }
    let parked = if careful {
        target.fold_carefully(&mut transaction, events, &state.parked).await?
    } else {
        target.fold(&mut transaction, events, &state.parked).await?
    };
    transaction.commit().await?;
    Ok(Some(parked))
}
