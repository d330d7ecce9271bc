//! What holds of the events of any session: how its turns went.

use std::collections::BTreeMap;

use domain::TurnId;
use domain::session::{AttemptLimits, SessionEvent, WORKER_LOST};

fn is_end(event: &SessionEvent) -> Option<TurnId> {
    match event {
        SessionEvent::TurnCompleted { turn_id, .. }
        | SessionEvent::TurnFailed { turn_id, .. }
        | SessionEvent::TurnCancelled { turn_id, .. } => Some(*turn_id),
        _ => None,
    }
}

/// How the attempts at one turn went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Attempts {
    count: u32,
    running: bool,
    /// Lost in a row without a word.
    lost: u32,
    broken_off: u32,
}

impl Attempts {
    fn abandoned(&mut self, code: &str, reached: u64) {
        self.running = false;
        match code {
            WORKER_LOST => self.lost += 1,
            _ => self.broken_off += 1,
        }
        if reached > 0 {
            self.lost = 0;
        }
    }

    fn are_within(self, limits: AttemptLimits) -> bool {
        self.count <= limits.in_all
            && self.lost < limits.without_progress
            && self.broken_off < limits.broken_off
    }
}

/// Each turn: asked for once, begun in order and within the limits, by one attempt at a time,
/// ended at most once, silent afterwards.
pub(crate) fn check_history(events: &[SessionEvent], limits: AttemptLimits) {
    let mut attempts: BTreeMap<TurnId, Attempts> = BTreeMap::new();
    let mut ended: Vec<TurnId> = Vec::new();
    for event in events {
        match event {
            SessionEvent::TurnRequested { turn_id, .. } => {
                let before = attempts.insert(*turn_id, Attempts::default());
                assert_eq!(before, None, "asked for once");
            }
            SessionEvent::AttemptStarted { turn_id, attempt, .. } => {
                assert!(!ended.contains(turn_id), "no attempt after the end");
                let turn = attempts.get_mut(turn_id).expect("asked for before");
                assert!(!turn.running, "one attempt at a time");
                assert_eq!(*attempt, turn.count + 1, "attempts count up");
                (turn.count, turn.running) = (*attempt, true);
                assert!(turn.are_within(limits), "no more attempts than allowed: {turn:?}");
            }
            SessionEvent::AttemptAbandoned { turn_id, attempt, error, reached, .. } => {
                assert!(!ended.contains(turn_id), "nobody gives up what has ended");
                let turn = attempts.get_mut(turn_id).expect("asked for before");
                assert_eq!((turn.running, turn.count), (true, *attempt), "the holder is given up");
                turn.abandoned(&error.code, *reached);
            }
            SessionEvent::AttemptReleased { turn_id, attempt, .. } => {
                assert!(!ended.contains(turn_id), "nobody gives back what has ended");
                let turn = attempts.get_mut(turn_id).expect("asked for before");
                assert_eq!(
                    (turn.running, turn.count),
                    (true, *attempt),
                    "the holder gives it back"
                );
                turn.running = false;
            }
            SessionEvent::CancelRequested { turn_id, .. } => {
                assert!(!ended.contains(turn_id), "nobody stops what has ended");
            }
            _ => {}
        }
        if let Some(turn_id) = is_end(event) {
            assert!(attempts.contains_key(&turn_id), "asked for before");
            assert!(!ended.contains(&turn_id), "ended once");
            ended.push(turn_id);
        }
    }
}
