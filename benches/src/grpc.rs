//! The program `grpc`.

mod check;
mod deeds;
mod objects;
mod options;
mod programs;
mod subscriptions;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;

use self::check::Report;
use self::options::Options;
use crate::Error;

/// Runs it with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::exit_code(run(&Options::parse()))
}

/// Returns whether all was as it should be.
fn run(options: &Options) -> Result<bool, Error> {
    let mut report = Report::new(options.json);
    deeds::run(options, &mut report)?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if options.object_mib > 0 {
        runtime.block_on(objects::run(options, &mut report))?;
    }
    if options.idle > 0 || options.churn > 0 {
        runtime.block_on(subscriptions::run(options, &mut report))?;
    }
    report.print()?;
    Ok(report.is_as_it_should_be())
}
