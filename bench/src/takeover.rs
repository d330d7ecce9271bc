//! How soon a worker is replaced: from its sudden death until the watcher of its answer is told
//! that another one has begun.

use std::time::{Duration, Instant};

use tests::found;

use crate::Failure;
use crate::setup::System;
use crate::speaking::{PATIENCE, Speaking};

/// Kills `count` workers in the middle of an answer; tells the times, shortest first.
pub(crate) async fn measure(system: &System, count: usize) -> Result<Vec<Duration>, Failure> {
    let mut took = Vec::with_capacity(count);
    for number in 0..count {
        let mut victim = system.start_worker()?;
        let mut speaking = hold(system, victim.id(), number).await;
        victim.kill()?;
        let killed = Instant::now();
        victim.wait()?;
        if !speaking.restarts().await {
            return Err(format!("turn {} was not taken over", speaking.turn).into());
        }
        took.push(killed.elapsed());
        speaking.stop().await;
    }
    took.sort_unstable();
    Ok(took)
}

/// An answer that the process `id` gives. The worker of the main process may be faster: then it
/// is tried again.
async fn hold(system: &System, id: u32, number: usize) -> Speaking {
    let mut tries = 0;
    loop {
        tries += 1;
        let name = format!("takeover {number}, try {tries}");
        let speaking = Speaking::begin(system.client(), &name).await;
        let is_held = async || speaking.is_held_by(id).await;
        if found("somebody is at the turn", PATIENCE, is_held).await {
            return speaking;
        }
        speaking.stop().await;
    }
}
