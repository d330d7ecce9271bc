//! How soon a stop arrives: from the request until the connection to the provider is closed.

use std::time::{Duration, Instant};

use tests::found;

use crate::setup::System;
use crate::speaking::{PATIENCE, Speaking};

/// Stops `count` answers, one after the other; tells the times, shortest first.
pub(crate) async fn measure(system: &System, count: usize) -> Vec<Duration> {
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let speaking = Speaking::begin(system.client(), &format!("stop {number}")).await;
        let asked = Instant::now();
        speaking.stop().await;
        let closed = found("the provider is hung up on", PATIENCE, async || {
            system.provider().calls(&speaking.text).pop()?.ended_at
        })
        .await;
        took.push(closed.saturating_duration_since(asked));
    }
    took.sort_unstable();
    took
}
