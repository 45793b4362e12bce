//! Prints the path of a nats-server and fetches it if necessary: the version that is the argument,
//! or the server that narun's tests use.

use std::env;
use std::process::ExitCode;

use narun_support::{Binary, Error};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let found = match (arguments.next(), arguments.next()) {
        (None, _) => Binary::find(),
        (Some(version), None) if !version.starts_with('-') => Binary::version(&version),
        _ => {
            eprintln!("usage: nats-server-path [VERSION]");
            return ExitCode::from(2);
        }
    };
    match found {
        Ok(binary) => {
            println!("{}", binary.path().display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn report(error: &Error) {
    eprintln!("nats-server-path: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}
