//! What the benches and load programs share.
//!
//! A load program runs each part of what it measures in a process of its own: it starts itself
//! once per part, as a [`role`], and talks with it over standard input and output. So the parts
//! share nothing but the machine, CPU and memory can be told apart, and all of them end when the
//! program does, however that comes about.

pub mod cpu;
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

/// What ends a program: there is nothing to do about it but to say so.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Of a program that says whether all was as it should be, or else why it ends.
fn exit_code(result: Result<bool, Error>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

/// Says why a program ends.
fn failed(error: &Error) -> ExitCode {
    eprintln!("{}", text(error));
    ExitCode::FAILURE
}

/// An error with all its causes.
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
