//! What narun's examples share: everything around narun that a program needs.

pub mod chat;
pub mod client;
pub mod hello;
pub mod http;
pub mod memory;
pub mod metrics;
pub mod nats;
pub mod process;
pub mod progress;
pub mod signal;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tracing::level_filters::LevelFilter;

/// Logs to standard error what the environment variable `RUST_LOG` asks for, by default `info`.
pub fn log() {
    log_from(LevelFilter::INFO);
}

/// The same with another default.
pub fn log_from(level: LevelFilter) {
    let filter =
        tracing_subscriber::EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let colors = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors).with_writer(io::stderr).init();
}

/// Ends a program: an error is printed with all its causes, and makes the exit code 1.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Compiles and runs what the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
