//! What others need to hear at once of an accepted command. All of it is in the log already;
//! a lost message costs time, nothing else.

use broker::{Frame, Settlement, Terminal};
use commands::Executed;
use domain::TenantId;
use domain::session::SessionEvent;

use crate::state::ApiState;

/// Tells workers which turns to stop, and watchers which ones have ended.
pub(crate) async fn announce(state: &ApiState, tenant: &TenantId, executed: &Executed) {
    for (position, event) in executed.placed() {
        if let SessionEvent::CancelRequested { turn_id, .. } = event {
            state.broker.signal_stop(*turn_id).await;
        }
        if let Some((turn_id, attempt, terminal)) = Terminal::of(event) {
            // Its worker, if it has one, works for nobody now.
            state.broker.signal_stop(turn_id).await;
            let billed = executed.billed.iter().flat_map(|billed| &billed.events);
            let settlement = Settlement::of(turn_id, billed);
            let frame = Frame::ended(attempt, position, terminal, settlement);
            state.broker.publish_frame(tenant, turn_id, &frame).await;
        }
    }
}
