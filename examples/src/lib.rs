//! Code that narun's examples share: logs, metrics, signals, HTTP, and a nats-server.

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
pub mod stream;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use tracing::level_filters::LevelFilter;

/// Logs to standard error, at the levels of the environment variable `RUST_LOG`, by default `info`.
pub fn log() {
    log_from(LevelFilter::INFO);
}

/// Logs like [`log`], with another default level.
pub fn log_from(level: LevelFilter) {
    let filter =
        tracing_subscriber::EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let colors = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colors)
        .with_writer(io::stderr)
        // It would report an error of standard error there, and panic: the program has to go on without its log.
        .log_internal_errors(false)
        .init();
}

/// Prints a line to standard output, like `println`. Does nothing if nobody reads it any more, where `println` would panic.
#[macro_export]
macro_rules! say {
    () => { $crate::print(::std::format_args!("")) };
    ($($text:tt)+) => { $crate::print(::std::format_args!($($text)+)) };
}

/// What [`say!`] does.
pub fn print(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// The exit code of a program. An error is printed with all its sources, and makes it 1.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `eprintln` would panic if nobody reads standard error any more.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Compiles the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
