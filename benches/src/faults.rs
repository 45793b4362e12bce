//! The program `faults`.

mod audit;
mod clients;
mod executions;
mod gate;
mod ledger;
mod options;
mod plan;
mod random;
mod scenario;
mod site;
mod strikes;
mod verdict;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::runtime::Builder;
use tokio::time;

use self::options::FaultsOptions;
use self::plan::Plan;
use self::scenario::Scenario;
use self::verdict::{Verdict, print_summary};

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::exit_code(run(&FaultsOptions::parse()))
}

/// Returns whether all guarantees were kept.
fn run(options: &FaultsOptions) -> Result<bool, crate::Error> {
    // Starting and ending processes blocks a worker thread for a moment.
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    let mut verdicts = Vec::new();
    for scenario in options.scenarios() {
        let verdict = runtime.block_on(judge(scenario, &options.plan(scenario)));
        verdict.print();
        verdicts.push(verdict);
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
    print_summary(&verdicts, options.seed());
    Ok(verdicts.iter().all(Verdict::is_good))
}

/// Runs a scenario. An error of the harness, or a timeout, counts as a broken guarantee, as nothing is known then.
async fn judge(scenario: Scenario, plan: &Plan) -> Verdict {
    let start = Instant::now();
    let mut verdict = match time::timeout(plan.limit, scenario.run(plan)).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => Verdict::of_failure(crate::text(&error)),
        Err(_) => Verdict::of_failure(format!("not done within {:?}", plan.limit)),
    };
    verdict.finish(scenario.name(), start.elapsed());
    verdict
}
