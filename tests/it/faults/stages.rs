//! Worlds that scenarios share, one after the other: to start one takes longer than most of them.

use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use tests::faults::{Scale, World, run, scenario};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::support::BINARY;

/// Replays a failure.
const SEED: &str = "COLLOQUY_FAULT_SEED";
/// Worlds at the same time.
const WORLDS: usize = 2;

/// What a world has under way outlives the test that started it.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());
static PLACES: Semaphore = Semaphore::const_new(WORLDS);
/// Those that are whole and that nobody uses.
static WHOLE: Mutex<Vec<World>> = Mutex::new(Vec::new());

/// Plays the scenario called `name`. A world in which one has failed is given up.
pub(super) fn play(name: &str) {
    let scenario = scenario::find(name).unwrap();
    let seed = seed();
    println!("replay with {SEED}={seed}");
    RUNTIME.block_on(async {
        let _place = PLACES.acquire().await.unwrap();
        let whole = WHOLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let world = match whole {
            Some(world) => world,
            None => World::start(Path::new(BINARY)).await,
        };
        let (world, outcome) = run(world, scenario, seed, Scale::Short).await;
        println!("{name}: {outcome:?}");
        WHOLE.lock().unwrap_or_else(PoisonError::into_inner).push(world);
    });
}

/// The seed that the environment names, or a new one.
fn seed() -> u64 {
    let named = std::env::var(SEED).ok();
    let named = named.map(|seed| seed.parse().unwrap_or_else(|_| panic!("{SEED}={seed}")));
    named.unwrap_or_else(|| u64::from(std::process::id()) * 7919 % 1_000_000)
}
