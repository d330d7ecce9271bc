//! What must hold when every fault has ended: first that the world comes to rest, and then each
//! invariant, one function each. All say which one was broken, and show by what.

pub mod levels;

mod acknowledged;
mod calls;
mod deadlocks;
mod ledger;
mod log;
mod published;
mod quiet;
mod reader;
mod takeovers;
mod turns;
mod watchers;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::invariants::{self, EndOfTurn};
use crate::provider::Call;

use super::record::Entries;
use super::world::World;

pub use log::{Event, Log};
pub use published::created;
pub use quiet::{Beginning, RECOVERY, until_quiet};
pub use reader::Reader;
pub use turns::begun;

/// What is known of a round.
pub struct Evidence<'a> {
    /// What users were told and saw.
    pub told: &'a Entries,
    /// The whole log.
    pub log: Log,
    /// How each turn ended.
    pub ends: HashMap<String, EndOfTurn>,
    /// The provider's own account, by the message that it was asked to answer.
    pub calls: HashMap<String, Vec<Call>>,
    /// The processes that were frozen.
    pub frozen: &'a BTreeSet<u32>,
}

impl<'a> Evidence<'a> {
    /// Gathers it, at rest.
    pub async fn of(world: &'a World, told: &'a Entries) -> Self {
        let log = Log::read(&world.pool).await;
        let ends = invariants::ends_of_turns(&world.pool).await;
        let mut calls: HashMap<String, Vec<Call>> = HashMap::new();
        for call in world.calls() {
            calls.entry(call.message.clone()).or_default().push(call);
        }
        Self { told, log, ends, calls, frozen: &world.frozen }
    }
}

/// Checks everything; the world is at rest. Tells how long watchers waited for each takeover.
pub async fn everything(world: &World, told: &Entries, reader: Reader) -> Vec<Duration> {
    assert!(told.wrong.is_empty(), "what users saw and must never see:\n{}", told.wrong.join("\n"));
    invariants::log_is_in_order(&world.pool).await;
    let evidence = Evidence::of(world, told).await;
    reader.saw_a_prefix_of(&evidence.log).await;
    acknowledged::is_in_the_log_once(&evidence);
    acknowledged::refused_left_nothing(&evidence, &world.pool).await;
    turns::answers_come_from_one_attempt(&evidence);
    watchers::saw_the_stored_text(&evidence);
    watchers::the_api_tells_the_same(world, &evidence).await;
    ledger::is_the_providers_meter(&evidence);
    ledger::limits_hold_in_every_prefix(&evidence.log);
    calls::no_more_than_attempts(&evidence);
    published::is_a_slice_of_the_log(world, &evidence.log).await;
    invariants::read_models_agree(&world.pool, &evidence.ends).await;
    invariants::ledger_balances(&world.pool).await;
    invariants::rebuild_changes_nothing(&world.cluster, &world.pool).await;
    deadlocks::were_none(&world.pool).await;
    takeovers::were_soon(world, told).await
}
