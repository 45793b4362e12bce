//! Prints the path of a nats-server, fetched if need be: of the version given as argument, or else
//! of the one that narun's tests would use.

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
