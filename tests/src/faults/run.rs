//! One round: a load, a scenario's faults, healing, rest, and every check.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::check::{self, Reader, levels};
use super::load::{Load, Working};
use super::scenario::Scenario;
use super::world::{Diary, World};

/// What was under way when a fault began has ended by then.
const SETTLE: Duration = Duration::from_millis(500);

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// A few seconds, beside other tests.
    Short,
    /// What the suite is for.
    Long,
}

/// What a scenario acts on.
pub struct Stage {
    /// What is harmed.
    pub world: World,
    /// Who works with it.
    pub working: Working,
    /// Where all choices come from.
    pub dice: StdRng,
    /// How much is tried.
    pub scale: Scale,
}

/// How a round went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// From the first request to the last check.
    pub took: Duration,
    /// From the end of the last fault until everything was at rest.
    pub recovery: Duration,
    /// How long each watcher of a turn whose worker was lost waited for its restart.
    pub takeovers: Vec<Duration>,
    /// Turns that were accepted.
    pub turns: usize,
    /// Requests that were sent again.
    pub repeats: usize,
    /// Turns that were begun anew before somebody's eyes.
    pub restarts: usize,
    /// What was done, and when.
    pub diary: String,
    /// The turns that took longest, and what happened to them.
    pub slowest: String,
}

impl Stage {
    /// `short` or `long`, by the scale.
    pub fn by_scale<T>(&self, short: T, long: T) -> T {
        match self.scale {
            Scale::Short => short,
            Scale::Long => long,
        }
    }

    /// Lets the users work for a while: until `count` more turns have ended.
    pub async fn turns(&mut self, count: usize) {
        self.working.turns(count, Duration::from_secs(120)).await;
    }

    /// Lets a fault last for `time`, in which nothing may be written: fails if anything is.
    pub async fn last_without_writes(&self, time: Duration) {
        self.last(SETTLE).await;
        let head = self.world.head().await;
        self.last(time.saturating_sub(SETTLE)).await;
        assert_eq!(self.world.head().await, head, "the fault: something was written");
    }

    /// Lets a fault last for `time`: here it is the time that counts, not what happens in it.
    pub async fn last(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Runs `scenario` in `world`; gives both back. Fails at the first promise that is broken.
pub async fn run(
    mut world: World,
    scenario: &Scenario,
    seed: u64,
    scale: Scale,
) -> (World, Outcome) {
    let mut dice = StdRng::seed_from_u64(seed);
    world.rounds += 1;
    if world.at_rest.is_none() {
        warm_up(&mut world, &mut dice).await;
    }
    let began = Instant::now();
    world.diary = Diary::default();
    world.losses.clear();
    let beginning = check::Beginning::of(&world.pool).await;
    let reader = Reader::start(&world);
    let load = (scenario.load)(scale);
    let (longest, largest) = (load.longest(), load.largest_answer);
    let working = load.start(&world, &mut dice);
    let mut stage = Stage { world, working, dice, scale };
    (scenario.faults)(&mut stage).await;
    let Stage { mut world, working, .. } = stage;
    world.heal().await;
    let healed = Instant::now();
    let told = working.finish().await;
    // An answer that is being given is not stuck. Other tests may need the machine, too.
    let patience = match scale {
        Scale::Short => check::RECOVERY * 3 / 2 + longest,
        Scale::Long => check::RECOVERY + longest,
    };
    let recovery = check::until_quiet(&mut world, healed, patience).await;
    let takeovers = check::everything(&world, &told, reader).await;
    let outcome = Outcome {
        took: began.elapsed(),
        recovery,
        takeovers,
        turns: told.accepted.len() + told.completions.len(),
        repeats: told.repeats,
        diary: world.diary.read(),
        slowest: beginning.slowest_turns(&world.pool).await,
        restarts: told.watched.iter().map(|seen| seen.restarts.len()).sum(),
    };
    levels::are_back(&mut world, largest).await;
    (world, outcome)
}

/// Some turns, so that pools are filled and caches begun; then what is held at rest is noted.
async fn warm_up(world: &mut World, dice: &mut StdRng) {
    let load = Load { at_least: 3, ..Load::default() };
    load.start(world, dice).finish().await;
    check::until_quiet(world, Instant::now(), check::RECOVERY * 3).await;
    levels::are_back(world, 0).await;
    world.rounds += 1;
}
