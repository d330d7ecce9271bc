//! How fast Colloquy is: streamed Chat Completions a second and the time to the first token,
//! through Colloquy and directly from the same provider, in the same run on the same machine.
//!
//! Then, how soon a stop reaches the provider, and how soon a killed worker is replaced.
//!
//! `cargo run --release -p bench -- --help`
//!
//! Everything is real and on this machine: Postgres with fsync, NATS, the release binary with
//! all roles in one process. The provider answers at once, so what is measured is Colloquy.

mod load;
mod report;
mod setup;
mod speaking;
mod stop;
mod takeover;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::load::{Load, Measured};
use crate::report::Round;
use crate::setup::System;

/// Measures streamed turns a second, time to first token, and how soon stops and takeovers are.
#[derive(Debug, Parser)]
struct Args {
    /// Connections at once, one round each.
    #[arg(long, value_delimiter = ',', default_values_t = [1_usize, 16, 64])]
    connections: Vec<usize>,
    /// Length of each measurement.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Length of each answer.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    tokens: u16,
    /// Answers to stop.
    #[arg(long, default_value_t = 100)]
    stops: usize,
    /// Workers to kill.
    #[arg(long, default_value_t = 24)]
    takeovers: usize,
    /// Also write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Use this binary instead of building one.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(args))
}

async fn run(args: Args) -> Result<(), Failure> {
    let mut system = System::start(args.binary.as_deref(), args.tokens).await?;
    let mut rounds = Vec::new();
    for &connections in &args.connections {
        let seconds = Duration::from_secs(args.seconds);
        let direct = measure(&system.direct(), connections, seconds).await?;
        let through = measure(&system.through(), connections, seconds).await?;
        let round = Round { connections, direct, through };
        report::line(&round, rounds.is_empty());
        rounds.push(round);
    }
    let stops = stop::measure(&system, args.stops).await;
    let takeovers = takeover::measure(&system, args.takeovers).await?;
    let reactions = [("stop", stops), ("takeover", takeovers)];
    report::reactions(&reactions);
    if let Some(path) = &args.json {
        std::fs::write(path, report::json(&rounds, args.tokens, &reactions)?)?;
    }
    system.stop().await
}

/// A short warm-up, then the measurement.
async fn measure(load: &Load, connections: usize, seconds: Duration) -> Result<Measured, Failure> {
    load.run(connections, (seconds / 5).min(Duration::from_secs(3))).await?;
    load.run(connections, seconds).await
}
