//! The fault suite in its long form: scenarios at random, one after the other, until time is up
//! or a promise is broken.
//!
//! `cargo run --release -p tests --bin faults -- --seed 7 --minutes 60`

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it is a tool of the tests: it prints, and a failure ends it"
)]

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use futures::FutureExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tests::faults::{Outcome, SCENARIOS, Scale, Scenario, World, run, scenario};

/// Harms an installation in every way until time is up or a promise is broken.
#[derive(Debug, Parser)]
struct Args {
    /// Where all choices come from; a new one each time if none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// For how long new scenarios are begun.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Play this scenario once, with exactly this seed.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Play it as often.
    #[arg(long, default_value_t = 1, requires = "scenario")]
    times: u64,
    /// With as little as `cargo test` does.
    #[arg(long)]
    short: bool,
    /// Tell what happened to the slowest turns of each play.
    #[arg(long)]
    verbose: bool,
    /// Show the scenarios.
    #[arg(long)]
    list: bool,
    /// Use this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// How all plays of a scenario went.
#[derive(Default)]
struct Plays {
    recoveries: Vec<Duration>,
    takeovers: Vec<Duration>,
    turns: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        for scenario in SCENARIOS {
            println!("{:<28} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    let binary = args.binary.clone().unwrap_or_else(build);
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let whole = runtime.block_on(async {
        tokio::select! {
            whole = play(&args, &binary, seed) => whole,
            _ = tokio::signal::ctrl_c() => {
                println!("stopped");
                true
            }
        }
    });
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays what `args` ask for; false if a promise was broken.
async fn play(args: &Args, binary: &Path, seed: u64) -> bool {
    let mut plays: BTreeMap<&str, Plays> = BTreeMap::new();
    println!(
        "seed {seed}\n{:<28} {:>8}  {:>7} {:>9} {:>6} {:>8} {:>8}",
        "scenario", "seed", "took", "recovery", "turns", "repeats", "restarts"
    );
    let begun = Instant::now();
    let mut dice = StdRng::seed_from_u64(seed);
    let mut whole = true;
    let mut round = 0;
    while whole && more(args, begun, round) {
        let (scenario, seed) = match &args.scenario {
            Some(name) => {
                let scenario = scenario::find(name);
                (
                    scenario.unwrap_or_else(|| panic!("no scenario {name:?}; see --list")),
                    seed + round,
                )
            }
            None => (SCENARIOS.choose(&mut dice).unwrap(), dice.random_range(0..1_000_000)),
        };
        whole = once(args, binary, scenario, seed, &mut plays).await;
        round += 1;
    }
    summary(&plays, begun.elapsed());
    whole
}

fn more(args: &Args, begun: Instant, round: u64) -> bool {
    match args.scenario {
        Some(_) => round < args.times,
        None => begun.elapsed() < Duration::from_secs(60 * args.minutes),
    }
}

/// Plays one scenario in a world of its own.
async fn once<'a>(
    args: &Args,
    binary: &Path,
    scenario: &'a Scenario,
    seed: u64,
    plays: &mut BTreeMap<&'a str, Plays>,
) -> bool {
    let scale = if args.short { Scale::Short } else { Scale::Long };
    let name = scenario.name;
    let round = async {
        let world = World::start(binary).await;
        run(world, scenario, seed, scale).await.1
    };
    // The panic's message and the nodes' logs were printed when it happened.
    let Ok(outcome) = AssertUnwindSafe(round).catch_unwind().await else {
        let short = if scale == Scale::Short { " --short" } else { "" };
        println!("{name:<28} {seed:>8}  BROKEN; replay it with");
        println!(
            "  cargo run --release -p tests --bin faults -- --scenario {name} --seed {seed}{short}"
        );
        return false;
    };
    let Outcome { took, recovery, takeovers, turns, repeats, restarts, diary, slowest } = outcome;
    println!(
        "{name:<28} {seed:>8}  {:>6.1}s {:>8.2}s {turns:>6} {repeats:>8} {restarts:>8}",
        took.as_secs_f64(),
        recovery.as_secs_f64(),
    );
    if !takeovers.is_empty() {
        println!("{:<28} takeovers as seen: {}", "", spread(&takeovers));
    }
    if args.verbose {
        println!("{diary}\n{slowest}");
    }
    let all = plays.entry(name).or_default();
    all.recoveries.push(recovery);
    all.takeovers.extend(takeovers);
    all.turns += turns;
    true
}

fn summary(plays: &BTreeMap<&str, Plays>, took: Duration) {
    let count: usize = plays.values().map(|all| all.recoveries.len()).sum();
    let turns: usize = plays.values().map(|all| all.turns).sum();
    println!("\n{count} scenarios, {turns} turns in {:.1} minutes", took.as_secs_f64() / 60.0);
    println!("{:<28} {:>5} {:>16} {:>8}", "scenario", "plays", "recovery: median", "longest");
    for (name, all) in plays {
        let (median, longest) = middle_and_end(&all.recoveries);
        println!("{name:<28} {:>5} {median:>15.2}s {longest:>7.2}s", all.recoveries.len());
        if !all.takeovers.is_empty() {
            println!("{:<28} takeovers as seen: {}", "", spread(&all.takeovers));
        }
    }
}

fn spread(times: &[Duration]) -> String {
    let (median, longest) = middle_and_end(times);
    format!("{}, median {median:.2}s, longest {longest:.2}s", times.len())
}

/// The median and the longest, in seconds.
fn middle_and_end(times: &[Duration]) -> (f64, f64) {
    let mut times = times.to_vec();
    times.sort();
    (times[times.len() / 2].as_secs_f64(), times[times.len() - 1].as_secs_f64())
}

/// Builds the release binary and tells where it is.
fn build() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--package", "server", "--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "cargo build failed");
    let messages = String::from_utf8(built.stdout).unwrap();
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back();
    executable.unwrap_or_else(|| {
        eprintln!("cargo named no executable");
        panic!("no binary")
    })
}
