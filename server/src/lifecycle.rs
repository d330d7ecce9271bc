//! The two stages of an end.
//!
//! `stopping`: take no new work, tell clients to go elsewhere, finish what is in work.
//! `abandon`: the grace is over or a second signal came; what is in work goes back.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a process learns that it is to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lifecycle {
    pub(crate) stopping: CancellationToken,
    pub(crate) abandon: CancellationToken,
    /// What clients who left have set off: it is seen through.
    pub(crate) farewells: TaskTracker,
}

impl Lifecycle {
    /// Turns SIGINT, SIGTERM and the passing of `grace` into the two stages. The grace also
    /// bounds an end that a crash began.
    pub(crate) async fn watch(self, grace: Duration) {
        tokio::select! {
            () = next_signal() => {}
            () = self.stopping.cancelled() => {}
        }
        tracing::info!(grace_seconds = grace.as_secs(), "stopping; a second signal ends at once");
        self.stopping.cancel();
        tokio::select! {
            () = next_signal() => tracing::warn!("ending at once"),
            () = tokio::time::sleep(grace) => tracing::warn!("the grace is over"),
        }
        self.abandon.cancel();
    }
}

/// Waits for SIGINT or SIGTERM; for ever if signals can't be had.
async fn next_signal() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        tracing::error!("signals can't be received");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
