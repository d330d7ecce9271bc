use domain::{SessionId, TenantId};
use proptest::prelude::*;
use uuid::Uuid;

use super::entry::{AT_ONCE, OVERDUE, OVERDUE_AT_MOST, PAUSE_AT_MOST, UNCONNECTED, UNLISTED};
use super::*;

const POOL: &str = "default";

fn turn(number: u128) -> TurnId {
    TurnId(Uuid::from_u128(number))
}

fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn job(number: u128, tenant: &str) -> Job {
    let tenant_id: TenantId = tenant.parse().unwrap();
    let session_id = SessionId(Uuid::from_u128(number));
    Job { tenant_id, session_id, turn_id: turn(number), lost: None }
}

/// A board and its time.
struct Game {
    board: Board,
    now: Instant,
}

impl Game {
    fn new() -> Self {
        Self { board: Board::default(), now: Instant::now() }
    }

    fn requested(&mut self, number: u128) {
        let event = TurnEvent::Requested { job: job(number, "acme"), pool: POOL.to_owned() };
        self.board.observe(event, self.now);
    }

    fn started(&mut self, number: u128, attempt: u32, by: &str) {
        let (turn_id, worker_id) = (turn(number), worker(by));
        self.board.observe(TurnEvent::Started { turn_id, attempt, worker_id }, self.now);
    }

    /// Lets time pass.
    fn after(&mut self, pause: Duration) -> &mut Self {
        self.now += pause;
        self
    }

    /// What is dealt now: the turns' numbers, and the attempts they may be taken from.
    fn deal(&mut self) -> Vec<(u128, Option<u32>)> {
        let deals = self.board.deal(self.now);
        deals.into_iter().map(|deal| (deal.job.turn_id.0.as_u128(), deal.job.lost)).collect()
    }

    /// How many turns are taken from their workers.
    fn judge(&mut self, leases: &[(&str, bool, &[TurnId])]) -> usize {
        self.board.judge(&Leases::of(leases), self.now)
    }

    /// A turn in its first attempt.
    fn running() -> Self {
        let mut game = Self::new();
        game.requested(1);
        assert_eq!(game.deal(), [(1, None)]);
        game.started(1, 1, "w");
        game
    }
}

#[test]
fn a_turn_is_dealt_once() {
    let mut game = Game::new();
    game.requested(1);
    game.requested(1);
    assert!(game.board.has_work(game.now));
    assert_eq!(game.deal(), [(1, None)]);
    assert_eq!(game.after(Duration::from_secs(1)).deal(), []);
    game.started(1, 1, "w");
    game.board.observe(TurnEvent::Ended(turn(1)), game.now);
    assert_eq!((game.board.len(), game.board.standing(POOL), game.deal()), (0, 0, vec![]));
}

#[test]
fn a_queue_holds_a_window_of_jobs() {
    let mut game = Game::new();
    (0..1000).for_each(|number| game.requested(number));
    assert_eq!(game.deal().len(), WINDOW);
    assert!(game.deal().is_empty() && !game.board.has_work(game.now));
    (0..10).for_each(|number| game.started(number, 1, "w"));
    assert!(game.board.has_work(game.now));
    assert_eq!(game.deal().len(), 10, "as many as were taken");
}

#[test]
fn a_dead_workers_turn_is_dealt_at_once() {
    let mut game = Game::running();
    assert_eq!(game.judge(&[("w", true, &[turn(1)])]), 0, "it is alive");
    assert_eq!(game.judge(&[]), 1);
    assert_eq!(game.deal(), [(1, Some(1))]);
    game.started(1, 2, "v");
    assert_eq!(game.judge(&[("v", true, &[turn(1)])]), 0);
}

#[test]
fn a_worker_without_its_connection_is_doubted_first() {
    let mut game = Game::running();
    let unconnected = [("w", false, &[turn(1)][..])];
    assert_eq!(game.judge(&unconnected), 0);
    assert_eq!(game.after(UNCONNECTED / 2).judge(&unconnected), 0);
    let connected = [("w", true, &[turn(1)][..])];
    assert_eq!(game.after(UNCONNECTED).judge(&connected), 0, "it is back");
    assert_eq!(game.judge(&unconnected), 0, "doubted anew");
    assert_eq!(game.after(UNCONNECTED).judge(&unconnected), 1);
}

#[test]
fn a_worker_that_knows_nothing_of_its_turn_is_doubted_for_long() {
    let mut game = Game::running();
    let elsewhere = [("w", true, &[turn(2)][..])];
    assert_eq!(game.judge(&elsewhere), 0);
    assert_eq!(game.after(UNLISTED.mul_f64(0.99)).judge(&elsewhere), 0);
    assert_eq!(game.after(UNLISTED.mul_f64(0.02)).judge(&elsewhere), 1);
    assert_eq!(game.deal(), [(1, Some(1))]);
}

#[test]
fn later_attempts_wait_a_little() {
    let mut game = Game::running();
    for attempt in 1..20 {
        game.started(1, attempt, "w");
        game.board.observe(TurnEvent::Abandoned(turn(1)), game.now);
        let mut waited = Duration::ZERO;
        while game.deal().is_empty() {
            game.after(Duration::from_millis(100));
            waited += Duration::from_millis(100);
        }
        assert_eq!(waited == Duration::ZERO, attempt <= AT_ONCE, "attempt {attempt}");
        assert!(waited <= PAUSE_AT_MOST, "attempt {attempt}: {waited:?}");
    }
}

#[test]
fn a_job_that_nobody_takes_is_dealt_again_ever_more_seldom() {
    let mut game = Game::new();
    game.requested(1);
    game.deal();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let mut waited = Duration::ZERO;
        while game.board.overdue(game.now).is_empty() {
            game.after(Duration::from_secs(1));
            waited += Duration::from_secs(1);
        }
        assert_eq!(game.board.deal_again(POOL, 99, game.now), [turn(1)]);
        assert_eq!(game.deal(), [(1, None)]);
        waits.push(waited.as_secs());
    }
    assert_eq!(waits, [2, 4, 8, 8, 8, 8, 8, 8]);
}

#[test]
fn each_deal_has_a_name_of_its_own_that_another_leader_gives_too() {
    let mut game = Game::new();
    game.requested(1);
    let first = game.board.deal(game.now).remove(0).id;
    game.after(OVERDUE);
    game.board.deal_again(POOL, 99, game.now);
    let second = game.board.deal(game.now).remove(0).id;
    assert_ne!(first, second);
    let mut other = Game::new();
    other.requested(1);
    assert_eq!(other.board.deal(other.now).remove(0).id, first);
}

/// Its worker tells what it used. If that is lost, whoever gets the job settles the turn.
#[test]
fn a_turn_ended_without_its_attempt_is_looked_after_once_more() {
    let mut game = Game::running();
    game.board.observe(TurnEvent::EndedUntold(turn(1)), game.now);
    assert_eq!(game.judge(&[("w", true, &[turn(1)])]), 0);
    assert_eq!(game.judge(&[]), 0, "no turn is lost by it");
    assert_eq!(game.deal(), [(1, Some(1))]);
    assert_eq!((game.board.len(), game.board.standing(POOL)), (0, 0));
    game.requested(2);
    game.board.observe(TurnEvent::EndedUntold(turn(2)), game.now);
    assert_eq!((game.board.len(), game.deal()), (0, vec![]), "nobody was at it");
}

/// The window is full of turns that nobody takes: those whose watchers wait go past it.
#[test]
fn a_lost_turn_waits_for_no_other() {
    let mut game = Game::running();
    (2..500).for_each(|number| game.requested(number));
    assert_eq!(game.deal().len(), WINDOW);
    assert_eq!(game.judge(&[]), 1);
    let urgent: Vec<bool> = game.board.deal(game.now).iter().map(|deal| deal.urgent).collect();
    assert_eq!(urgent, [true]);
}

/// A turn that can't be claimed, whatever the reason, doesn't keep the others.
#[test]
fn odd_turns_do_not_fill_the_window() {
    let mut game = Game::new();
    (0..1000).for_each(|number| game.requested(number));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        seen.extend(game.deal().into_iter().map(|(number, _)| number));
        game.after(OVERDUE_AT_MOST);
        game.board.deal_again(POOL, usize::MAX, game.now);
    }
    assert_eq!(seen.len(), 1000);
}

/// Who got the job found the worker alive: it is watched as before.
#[test]
fn a_turn_wrongly_taken_goes_back_to_its_worker() {
    let mut game = Game::running();
    assert_eq!(game.judge(&[]), 1);
    assert_eq!(game.deal(), [(1, Some(1))]);
    game.after(OVERDUE);
    assert_eq!(game.board.deal_again(POOL, 1, game.now), [turn(1)]);
    assert_eq!(game.deal(), [], "nothing is dealt");
    assert_eq!(game.judge(&[("w", true, &[turn(1)])]), 0, "it is at it");
    assert_eq!(game.judge(&[]), 1, "and now it is lost");
    assert_eq!(game.deal(), [(1, Some(1))]);
}

#[test]
fn one_doubt_does_not_count_for_another() {
    let mut game = Game::running();
    assert_eq!(game.judge(&[("w", true, &[])]), 0);
    game.after(UNLISTED.mul_f64(0.9));
    assert_eq!(game.judge(&[("w", false, &[])]), 0, "without its connection only now");
    assert_eq!(game.after(UNCONNECTED).judge(&[("w", false, &[])]), 1);
}

#[test]
fn what_the_queue_does_not_take_is_tried_again() {
    let mut game = Game::new();
    game.requested(1);
    game.deal();
    game.board.not_dealt(turn(1), game.now);
    assert_eq!((game.board.standing(POOL), game.deal()), (0, vec![]));
    assert_eq!(game.after(RETRY).deal(), [(1, None)]);
}

#[derive(Debug, Clone)]
enum Move {
    Request(u8),
    Start(u8),
    GiveBack(u8),
    End(u8),
    Deal,
    Fail(u8),
    Judge(bool),
    DealAgain,
    Wait(u16),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => any::<u8>().prop_map(Move::Request),
        3 => any::<u8>().prop_map(Move::Start),
        1 => any::<u8>().prop_map(Move::GiveBack),
        2 => any::<u8>().prop_map(Move::End),
        4 => Just(Move::Deal),
        1 => any::<u8>().prop_map(Move::Fail),
        1 => any::<bool>().prop_map(Move::Judge),
        1 => Just(Move::DealAgain),
        2 => any::<u16>().prop_map(Move::Wait),
    ];
    prop::collection::vec(one, 1..300)
}

proptest! {
    /// Whatever happens in whatever order, every turn that has not ended is dealt or in work
    /// after a while, the counts are right, and what has ended leaves nothing behind.
    #[test]
    fn no_turn_is_forgotten(moves in moves()) {
        let mut game = Game::new();
        for one in moves {
            let number = |n: u8| u128::from(n % 100);
            match one {
                Move::Request(n) => game.requested(number(n)),
                Move::Start(n) => game.started(number(n), u32::from(n % 7), "w"),
                Move::GiveBack(n) => {
                    game.board.observe(TurnEvent::Abandoned(turn(number(n))), game.now);
                }
                Move::End(n) => game.board.observe(TurnEvent::Ended(turn(number(n))), game.now),
                Move::Deal => drop(game.deal()),
                Move::Fail(n) => game.board.not_dealt(turn(number(n)), game.now),
                Move::Judge(alive) => {
                    let turns: Vec<TurnId> = (0..50).map(turn).collect();
                    let leases = [("w", alive, &turns[..])];
                    game.judge(&leases[..usize::from(alive)]);
                }
                Move::DealAgain => drop(game.board.deal_again(POOL, 99, game.now)),
                Move::Wait(ms) => drop(game.after(Duration::from_millis(ms.into()))),
            }
            let count = |is: fn(&State) -> bool| {
                game.board.turns.values().filter(|entry| is(&entry.state)).count()
            };
            let counted = count(|state| matches!(state, State::Dealt { counts: true, .. }));
            let running = count(|state| matches!(state, State::Running { .. }));
            prop_assert_eq!((game.board.dealt(POOL), game.board.running), (counted, running));
            prop_assert!(counted <= WINDOW);
        }
        for _ in 0..200 {
            game.after(Duration::from_secs(61)).deal();
            let dealt: Vec<TurnId> = game.board.turns.iter()
                .filter(|(_, entry)| matches!(entry.state, State::Dealt { .. }))
                .map(|(turn_id, _)| *turn_id).collect();
            for turn_id in dealt {
                game.board.observe(TurnEvent::Ended(turn_id), game.now);
            }
            game.judge(&[]);
        }
        prop_assert_eq!(game.board.len(), 0, "all were dealt sooner or later");
        prop_assert!(game.board.queues.is_empty() && game.board.paused.is_empty());
    }
}
