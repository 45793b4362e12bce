//! The program `grpc`.

mod objects;
mod operations;
mod options;
mod programs;
mod report;
mod subscriptions;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;

use self::options::GrpcOptions;
use self::report::GrpcReport;
use crate::Error;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::exit_code(run(&GrpcOptions::parse()))
}

/// Returns whether there was no failure.
fn run(options: &GrpcOptions) -> Result<bool, Error> {
    let mut report = GrpcReport::new(options.json);
    operations::run(options, &mut report)?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if options.object_mib > 0 {
        runtime.block_on(objects::run(options, &mut report))?;
    }
    if options.idle > 0 || options.churn > 0 {
        runtime.block_on(subscriptions::run(options, &mut report))?;
    }
    report.print()?;
    Ok(report.has_no_failure())
}
