//! What holds after any sequence of commands, sensible or not.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use domain::session::{
    AttemptLimits, Context, CreateCompletion, CreateSession, OnBusy, RetryTurn, SendMessage,
    Session, SessionCommand, SessionEvent, SessionStatus, TurnStatus, UpdateSession, decide,
};
use domain::{ActorRole, ContentPart, MessageId, Role, TurnId};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::given::{
    abandon, actor, answer, complete, confirm, context, fail, ids, message_id, patch, release,
    said, send, start, take_over, turn_id, worker_actor,
};
use crate::history::check_history;

/// A step: what is asked, when and by whom. Turns are named by an index among those there are.
#[derive(Debug, Clone)]
enum Step {
    Create,
    CreateCompletion,
    Update {
        archived: Option<bool>,
        model: Option<&'static str>,
    },
    Delete,
    Clear,
    Send {
        interrupt: bool,
        parent: Option<Index>,
        text: &'static str,
    },
    Retry(Index),
    Cancel(Index),
    Start(Index),
    /// From the attempt that holds the turn, or from one that may not.
    TakeOver {
        turn: Index,
        attempt: Option<u32>,
        text: &'static str,
    },
    /// The provider of the turn's holder breaks off.
    Abandon {
        turn: Index,
        text: &'static str,
    },
    Complete {
        turn: Index,
        attempt: u32,
    },
    Fail {
        turn: Index,
        attempt: u32,
    },
    Confirm {
        turn: Index,
        attempt: u32,
    },
    /// The turn's holder gives it back.
    Release(Index),
    /// The turn's holder does its work: so that long runs get somewhere.
    Work(Index),
}

fn step() -> impl Strategy<Value = Step> {
    let turn = any::<Index>;
    let attempt = || 0..3_u32;
    // What an attempt brought: mostly nothing, so that turns wear out too.
    let text = || prop::sample::select(vec!["", "", "so f"]);
    prop_oneof![
        1 => Just(Step::Create),
        1 => Just(Step::CreateCompletion),
        1 => (any::<Option<bool>>(), prop::option::of(prop::sample::select(vec!["small", "none"])))
            .prop_map(|(archived, model)| Step::Update { archived, model }),
        1 => prop::bool::weighted(0.1).prop_map(|delete| if delete { Step::Delete } else { Step::Clear }),
        6 => (any::<bool>(), prop::option::weighted(0.3, any::<Index>()),
              prop::sample::select(vec!["hello", "", "x"]))
            .prop_map(|(interrupt, parent, text)| Step::Send { interrupt, parent, text }),
        1 => turn().prop_map(Step::Retry),
        2 => turn().prop_map(Step::Cancel),
        3 => turn().prop_map(Step::Start),
        4 => (turn(), prop::option::weighted(0.2, attempt()), text())
            .prop_map(|(turn, attempt, text)| Step::TakeOver { turn, attempt, text }),
        2 => (turn(), text()).prop_map(|(turn, text)| Step::Abandon { turn, text }),
        1 => (turn(), attempt()).prop_map(|(turn, attempt)| Step::Complete { turn, attempt }),
        4 => (turn(), attempt()).prop_map(|(turn, attempt)| Step::Fail { turn, attempt }),
        1 => (turn(), attempt()).prop_map(|(turn, attempt)| Step::Confirm { turn, attempt }),
        2 => turn().prop_map(Step::Release),
        4 => turn().prop_map(Step::Work),
    ]
}

/// Steps, each with the seconds that pass before it and whether a worker or a user takes it.
fn steps() -> impl Strategy<Value = Vec<(Step, i64, bool)>> {
    let step = (step(), 0..4_i64, prop::bool::weighted(0.7));
    prop::collection::vec(step, 1..60).prop_map(|mut steps| {
        // Nothing happens to a session that is not there.
        steps.insert(0, (Step::Create, 0, false));
        steps
    })
}

fn command(session: &Session, step: &Step, number: u128) -> SessionCommand {
    use SessionCommand as C;
    let turn = |index: &Index| nth_turn(session, *index);
    let parent = |index: &Index| nth_message(session, *index);
    match step {
        Step::Create => C::CreateSession(CreateSession::default()),
        Step::CreateCompletion => C::CreateCompletion(CreateCompletion {
            ids: ids(number),
            history_ids: vec![message_id(number * 10 + 2)],
            settings: context_settings(None),
            history: vec![said(Role::User, "earlier")],
            message: said(Role::User, "hello"),
        }),
        Step::Update { archived, model } => C::UpdateSession(UpdateSession {
            archived: *archived,
            settings: model.map(|model| patch(&format!(r#"{{"model": "{model}"}}"#))),
            ..UpdateSession::default()
        }),
        Step::Delete => C::DeleteSession,
        Step::Clear => C::ClearHistory,
        Step::Send { interrupt, parent: after, text } => C::SendMessage(SendMessage {
            message: said(Role::User, text),
            parent_id: after.as_ref().map(parent),
            on_busy: if *interrupt { OnBusy::Interrupt } else { OnBusy::Refuse },
            ..send(number)
        }),
        Step::Retry(index) => C::RetryTurn(RetryTurn {
            turn_id: turn(index).0,
            new_turn_id: turn_id(number),
            answer_id: ids(number).answer_id,
            settings: patch("{}"),
        }),
        Step::Cancel(index) => C::CancelTurn { turn_id: turn(index).0 },
        Step::Start(index) => start(turn(index).1),
        Step::TakeOver { turn: index, attempt, text } => {
            let (id, number) = turn(index);
            take_over(number, attempt.unwrap_or_else(|| holder(session, id)), text)
        }
        Step::Abandon { turn: index, text } => {
            let (id, number) = turn(index);
            abandon(number, holder(session, id), text)
        }
        Step::Complete { turn: index, attempt } => complete(turn(index).1, *attempt),
        Step::Fail { turn: index, attempt } => fail(turn(index).1, *attempt, None),
        Step::Confirm { turn: index, attempt } => confirm(turn(index).1, *attempt),
        Step::Release(index) => {
            let (id, number) = turn(index);
            release(number, holder(session, id))
        }
        Step::Work(index) => work(session, turn(index)),
    }
}

/// What a well-behaved worker would do next with the turn.
fn work(session: &Session, (id, number): (TurnId, u128)) -> SessionCommand {
    match session.turn(id) {
        Some(turn) if turn.status != TurnStatus::Running => start(number),
        Some(turn) if turn.cancel_requested_at.is_some() => confirm(number, turn.attempt),
        Some(turn) => complete(number, turn.attempt),
        None => start(number),
    }
}

/// The attempt that holds the turn or held it last.
fn holder(session: &Session, id: TurnId) -> u32 {
    session.turn(id).map_or(0, |turn| turn.attempt)
}

fn context_settings(model: Option<&str>) -> domain::Settings {
    domain::Settings { model: model.map(str::to_owned), ..domain::Settings::default() }
}

/// One of the session's turns, the newest most often, with its number; or one that is not there.
fn nth_turn(session: &Session, index: Index) -> (TurnId, u128) {
    let turns: Vec<TurnId> = session.turns.keys().copied().collect();
    let id = match turns.len() {
        0 => turn_id(999_999),
        count if index.index(2) == 0 => turns[count - 1],
        count => turns[index.index(count)],
    };
    (id, id.0.as_u128())
}

fn nth_message(session: &Session, index: Index) -> MessageId {
    let messages: Vec<MessageId> = session.messages.keys().copied().collect();
    if messages.is_empty() { message_id(999_999) } else { messages[index.index(messages.len())] }
}

/// All that happened, and the state after it.
#[derive(Default)]
struct Run {
    session: Session,
    events: Vec<SessionEvent>,
}

impl Run {
    fn take(&mut self, step: &Step, number: u128, context: &Context) {
        let command = command(&self.session, step, number);
        let Ok(events) = decide(&self.session, &command, context) else {
            return;
        };
        for event in events {
            self.session.apply(&event);
            self.check_state();
            self.events.push(event);
        }
    }

    /// What holds after every single event, also in the middle of a command.
    fn check_state(&self) {
        let session = &self.session;
        let unfinished: Vec<TurnId> = session
            .turns
            .iter()
            .filter(|(_, turn)| !turn.status.is_terminal())
            .map(|(id, _)| *id)
            .collect();
        assert_eq!(session.active, unfinished, "the active turns are those that have not ended");
        if let Some(leaf) = session.leaf {
            assert!(session.messages.contains_key(&leaf), "the leaf is a message");
        }
        for turn in session.active.iter().map(|id| &session.turns[id]) {
            assert!(session.messages.contains_key(&turn.message_id), "a turn has its question");
        }
    }

    /// What holds between commands.
    fn check_rest(&self) {
        let session = &self.session;
        let wanted = session
            .active
            .iter()
            .filter(|id| session.turns[id].cancel_requested_at.is_none())
            .count();
        assert!(wanted <= 1, "one turn at a time, but for those that are stopping");
        if wanted == 1 {
            let last = session.active.last().unwrap();
            assert!(session.turns[last].cancel_requested_at.is_none(), "and it is the newest");
        }
        let running =
            session.turns.values().filter(|turn| turn.status == TurnStatus::Running).count();
        assert!(running <= 1, "a turn starts when those before it have ended");
        if session.status == SessionStatus::Deleted || session.status == SessionStatus::Archived {
            assert!(session.active.is_empty(), "nothing goes on in a session put away");
        }
        if session.status == SessionStatus::Deleted {
            // Its running turns ended without the answers that they had promised.
            return;
        }
        for message in session.messages.values() {
            let Some(parent) = message.parent_id else {
                continue;
            };
            let is_pending = session.active.iter().any(|id| session.turns[id].answer_id == parent);
            assert!(
                session.messages.contains_key(&parent) || is_pending,
                "a message follows a message, or an answer to come"
            );
        }
    }
}

/// Few, so that the runs get to the end of them.
const LIMITS: AttemptLimits = AttemptLimits { without_progress: 2, broken_off: 2, in_all: 3 };

fn run(steps: &[(Step, i64, bool)]) -> Run {
    let mut run = Run::default();
    let mut context = Context { attempts: LIMITS, ..context() };
    for (number, (step, seconds, by_worker)) in (1..).zip(steps) {
        context.now += TimeDelta::seconds(*seconds);
        let user = actor("acme", "ada", ActorRole::User);
        let creates = matches!(step, Step::Create | Step::CreateCompletion);
        context.actor = if *by_worker && !creates { worker_actor() } else { user };
        run.take(step, number, &context);
        run.check_rest();
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_a_session_stays_sound(steps in steps()) {
        let run = run(&steps);
        check_history(&run.events, LIMITS);
        prop_assert_eq!(Session::fold(&run.events), run.session);
    }

    #[test]
    fn every_event_survives_its_json(steps in steps()) {
        let run = run(&steps);
        for event in &run.events {
            let json = serde_json::to_string(event).unwrap();
            prop_assert_eq!(&serde_json::from_str::<SessionEvent>(&json).unwrap(), event);
        }
        let json = serde_json::to_string(&run.session).unwrap();
        prop_assert_eq!(serde_json::from_str::<Session>(&json).unwrap(), run.session);
    }

    /// Once nobody asks for more, workers bring every turn to its end.
    #[test]
    fn every_turn_can_be_ended(steps in steps()) {
        let mut run = run(&steps);
        let context = Context { actor: worker_actor(), ..context() };
        let context = Context { now: context.now + TimeDelta::hours(1), ..context };
        for round in 0_u32..10 {
            let Some(first) = run.session.active.first().copied() else { break };
            prop_assert!(round < 9, "turn {first} does not end");
            let command = work(&run.session, (first, first.0.as_u128()));
            let events = decide(&run.session, &command, &context).unwrap();
            prop_assert!(!events.is_empty());
            for event in &events {
                run.session.apply(event);
            }
        }
    }

    /// What one part holds, the log holds: any text, any bytes that JSON can carry.
    #[test]
    fn any_text_survives_its_json(text in any::<String>(), name in any::<Option<String>>()) {
        let mut sent = answer(1, "").message;
        sent.content = vec![ContentPart::text(text)];
        sent.name = name;
        let event = SessionEvent::MessageSent { message: sent };
        let json = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(serde_json::from_str::<SessionEvent>(&json).unwrap(), event);
    }
}

/// The random runs do reach the interesting places.
#[test]
fn the_runs_get_somewhere() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failed: BTreeSet<String> = BTreeSet::new();
    for _ in 0..300 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        for event in run(&steps).events {
            *seen.entry(event.name()).or_default() += 1;
            if let SessionEvent::TurnFailed { error, .. } = event {
                failed.insert(error.message);
            }
        }
    }
    for name in [
        "TurnCompleted",
        "TurnFailed",
        "TurnCancelled",
        "CancelRequested",
        "AttemptReleased",
        "AttemptAbandoned",
        "HistoryCleared",
    ] {
        assert!(seen.get(name).is_some_and(|count| *count > 20), "{name}: {seen:?}");
    }
    for part in ["in a row", "after 3 attempts", "it broke"] {
        assert!(failed.iter().any(|why| why.contains(part)), "{part}: {failed:?}");
    }
}
