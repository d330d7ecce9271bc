//! The binary `colloquy`: the only crate that knows all others. It reads the configuration,
//! wires the roles together and sees to their life and end.

mod app;
mod catalog;
mod cli;
mod config;
mod dev;
mod error;
mod health;
mod http;
mod lifecycle;
mod output;
mod roles;
mod serve;
mod telemetry;
mod tools;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("colloquy: no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(cli.run());
    // What still runs after an orderly end holds nothing that could be lost.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("colloquy: {}", domain::Causes(&error)));
            ExitCode::FAILURE
        }
    }
}
