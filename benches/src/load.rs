//! The program `load`.

mod case;
mod cell;
mod options;
mod ratio;
mod report;
mod setting;

use std::process::ExitCode;

use clap::Parser;
use narun_support::Server;

use self::cell::LoadCell;
use self::options::LoadOptions;
use self::report::LoadReport;
use self::setting::Setting;
use crate::Error;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    match run(&LoadOptions::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("{failures} requests failed");
            ExitCode::FAILURE
        }
        Err(error) => crate::failed(&error),
    }
}

/// Returns how many requests failed.
fn run(options: &LoadOptions) -> Result<u64, Error> {
    let jetstream = options.variants().any(|variant| variant.case.is_durable());
    let nats = Server::builder().jetstream(jetstream).start()?;
    let mut report = LoadReport::new(options.json);
    for &body in &options.body {
        for &connections in &options.connections {
            let (mut settings, mut groups) = (Vec::new(), Vec::new());
            for runtime in options.runtime.runtimes() {
                for variant in options.variants() {
                    let setting = Setting { variant, runtime, body, connections };
                    groups.push(setting.start(&nats)?);
                    settings.push(setting);
                }
            }
            options.pace.run(&mut groups)?;
            for (setting, group) in settings.into_iter().zip(groups) {
                report.cell(LoadCell { setting, figures: group.finish() })?;
            }
        }
    }
    report.ratios()?;
    Ok(report.failures())
}
