//! What the benches and load programs share.
//!
//! A load program runs each part of what it measures in a process of its own: it starts itself
//! once per part, in a [`role`], and talks with it over standard input and output. So the parts
//! share nothing but the machine, their CPU time and memory are counted separately, and all of
//! them end when the program ends, even if it is killed.

pub mod bad_input;
pub mod cpu;
pub mod crowd;
pub mod drain;
pub mod faults;
mod figures;
mod goal;
mod group;
pub mod grpc;
mod handler;
pub mod load;
mod pace;
mod process;
pub mod role;
mod round;
pub mod soak;
pub mod streams;
mod test_request;
mod usage;

use std::process::ExitCode;

/// An error that ends the program. It is printed, and not handled in any other way.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The exit code of a program: success if the result is `Ok(true)`. An error is printed.
fn exit_code(result: Result<bool, Error>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

/// Prints an error, and returns the exit code of a failure.
fn failed(error: &Error) -> ExitCode {
    eprintln!("{}", text(error));
    ExitCode::FAILURE
}

/// The text of an error and of all its sources.
fn text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
