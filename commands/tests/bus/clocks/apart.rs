//! Two processes whose clocks are apart.

use std::collections::HashMap;

use chrono::TimeDelta;
use commands::{CommandBus, ReplayRange, replay_account, replay_session};
use domain::quota::{Account, QuotaEvent};
use domain::session::TurnStatus;
use domain::{AccountId, SessionId};
use proptest::sample::Index;
use serde_json::Value;

use super::TOKENS;
use super::acts::{Act, act, is_refusal};
use super::steps::Step;
use crate::holds::expire;
use crate::log::Log;
use crate::turns::{Turn, USED, open_session};
use crate::world::{ManualClock, World, owner, worker};

/// An hour from here is tomorrow.
const LATE: &str = "2026-03-10T23:30:00Z";
/// Turns with more than one end.
const TWICE: &str = "
    SELECT count(*) FROM (
        SELECT FROM events
        WHERE event_type IN ('TurnCompleted', 'TurnFailed', 'TurnCancelled')
        GROUP BY payload->event_type->>'turn_id' HAVING count(*) > 1) AS twice";

/// Turns with none.
const ENDLESS: &str = "
    SELECT count(*) FILTER (WHERE event_type = 'TurnRequested')
         - count(*) FILTER (WHERE event_type IN ('TurnCompleted', 'TurnFailed', 'TurnCancelled'))
    FROM events";

/// Two processes, one an hour ahead of the other, with a session and an account.
pub(super) struct Apart {
    pub(super) world: World,
    pub(super) clocks: [ManualClock; 2],
    pub(super) buses: Vec<CommandBus>,
    pub(super) session_id: SessionId,
    pub(super) turns: Vec<Turn>,
}

impl Apart {
    pub(super) async fn new(limits: Value) -> Self {
        let world = World::with(limits).await;
        let clocks = [ManualClock::at(LATE), ManualClock::at(LATE)];
        clocks[1].advance(TimeDelta::hours(1));
        let mut buses = Vec::new();
        for clock in &clocks {
            buses.push(world.process_with(clock.clone()).await);
        }
        let session_id = open_session(&buses[0]).await;
        Self { world, clocks, buses, session_id, turns: Vec::new() }
    }

    pub(super) async fn take(&mut self, step: &Step) {
        if let Some((clock, minutes)) = step.jump {
            self.clocks[clock].advance(TimeDelta::minutes(minutes));
        }
        let turn = self.pick(step.turn);
        let mut new = Vec::new();
        let doing = step.processes.iter().map(|process| {
            let turn = match step.act {
                Act::Send(_) => Some(Turn::of(self.session_id)),
                Act::Complete => Some(Turn::new()),
                _ => turn,
            };
            new.extend(turn.filter(|_| matches!(step.act, Act::Send(_) | Act::Complete)));
            let bus = self.buses[*process].clone();
            async move { act(&bus, step.act, turn).await }
        });
        for done in futures::future::join_all(doing).await {
            // Refused is as good as done; that nothing else happens is what is tested.
            assert!(done.as_ref().is_ok() || is_refusal(&done), "{step:?}: {done:?}");
        }
        for turn in new {
            let session = self.buses[0].load(turn.session_id).await;
            if session.is_ok_and(|session| session.turn(turn.ids.turn_id).is_some()) {
                self.turns.push(turn);
            }
        }
    }

    /// One of the newest.
    fn pick(&self, index: Index) -> Option<Turn> {
        let newest = &self.turns[self.turns.len().saturating_sub(4)..];
        (!newest.is_empty()).then(|| *index.get(newest))
    }

    /// Workers see through what is left, each by its own clock.
    pub(super) async fn finish(&self) {
        for (turn, bus) in self.turns.iter().zip(self.buses.iter().cycle()) {
            let status = || async {
                let session = bus.load(turn.session_id).await.unwrap();
                session.turn(turn.ids.turn_id).unwrap().status
            };
            if status().await == TurnStatus::Queued {
                // This may end it, or find that an earlier one is still stopping: not for ever.
                drop(act(bus, Act::Start, Some(*turn)).await);
            }
            if status().await == TurnStatus::Running {
                act(bus, Act::Answer, Some(*turn)).await.unwrap();
            }
            assert!(status().await.is_terminal(), "{turn:?}");
        }
        self.settle().await;
    }

    /// Turns may have been ended while an attempt was at them: half of these tell what they used,
    /// the others are lost, and their holds expire.
    async fn settle(&self) {
        for clock in &self.clocks {
            clock.advance(TimeDelta::hours(6));
        }
        for (number, (turn, bus)) in self.turns.iter().zip(self.buses.iter().cycle()).enumerate() {
            if number % 3 == 0 {
                let session = bus.load(turn.session_id).await.unwrap();
                let settle = domain::billing::settle(&session, turn.ids.turn_id, Some(USED));
                bus.execute_quota(&owner(), vec![settle], &worker()).await.unwrap();
            } else {
                drop(expire(bus, *turn).await);
            }
        }
    }

    /// What must hold at rest, whatever the clocks have said.
    pub(super) async fn check(&self) {
        let log = Log::read(&self.world).await;
        assert_eq!(log.books().held_in_all().tokens, 0);
        within_the_limit(&log.account());
        for (count, what) in [(TWICE, "an end too many"), (ENDLESS, "a turn without an end")] {
            assert_eq!(self.world.number(count).await, 0, "{what}");
        }
        // One that starts years later knows the same, and so does the fold.
        let later = self.world.process_with(ManualClock::at("2031-05-05T05:05:05Z")).await;
        let range = ReplayRange { as_of: i64::MAX, after: 0, limit: 1 };
        let (tenant_id, user_id) = owner();
        let account_id = AccountId::of(&tenant_id, &user_id);
        let account = replay_account(&self.world.store, account_id, range).await.unwrap().state;
        assert_eq!(account, Account::fold(&log.account()));
        let session = replay_session(&self.world.store, self.session_id, range).await.unwrap();
        for bus in self.buses.iter().chain([&later]) {
            assert_eq!(*bus.account(&owner()).await.unwrap(), account);
            assert_eq!(*bus.load(self.session_id).await.unwrap(), session.state);
        }
    }
}

/// What was used and what is held come to more than the limit only by what the ledger says so of.
fn within_the_limit(events: &[QuotaEvent]) {
    let (mut used, mut flagged, mut held) = (0, 0, HashMap::new());
    let mut expired = HashMap::new();
    for event in events {
        match event {
            QuotaEvent::QuotaReserved { reservation_id: id, amount, .. } => {
                let again = expired.remove(id).unwrap_or_default();
                *held.entry(*id).or_insert(0) += amount.tokens + again;
            }
            QuotaEvent::QuotaConsumed { reservation_id, amount, overdrawn, late, .. } => {
                used += amount.tokens;
                flagged += if *late { amount.tokens } else { 0 };
                flagged += if reservation_id.is_some() { overdrawn.tokens } else { 0 };
                reservation_id.map(|id| held.remove(&id));
            }
            QuotaEvent::ReservationReleased { reservation_id, .. } => {
                held.remove(reservation_id);
            }
            QuotaEvent::ReservationExpired { reservation_id, .. } => {
                expired.extend(held.remove(reservation_id).map(|hold| (*reservation_id, hold)));
            }
            _ => {}
        }
        let held: u64 = held.values().sum();
        assert!(used + held <= TOKENS + flagged, "{used} used, {held} held, {flagged} flagged");
    }
}
