//! The program `grpc`.

mod check;
mod deeds;
mod objects;
mod subscriptions;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use narun_support::Server;
use tokio::runtime::Builder;

use self::check::Report;
use crate::Error;
use crate::pace::Pace;
use crate::process::Process;
use crate::role::{Deed, Job, Role};

/// Compares NATS over gRPC with the same work done straight through async-nats.
#[derive(Clone, Debug, Parser)]
struct Options {
    #[command(flatten)]
    pace: Pace,

    /// Only these deeds
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = <Deed as clap::ValueEnum>::value_variants().to_vec())]
    deed: Vec<Deed>,

    /// Deeds at a time, over one connection
    #[arg(long, default_value_t = 64)]
    in_flight: usize,

    /// Bytes of each message and value
    #[arg(long, default_value_t = 200)]
    body: usize,

    /// Worker threads of the service and of the echo; none: one thread does all
    #[arg(long)]
    workers: Option<NonZeroUsize>,

    /// Size of the object, in MiB; 0 for none
    #[arg(long, default_value_t = 1024)]
    object_mib: u64,

    /// How often the object goes each way
    #[arg(long, default_value_t = 3)]
    object_rounds: u32,

    /// Subscriptions that are open at the same time, and get nothing
    #[arg(long, default_value_t = 10_000)]
    idle: usize,

    /// Subscriptions that are opened and closed
    #[arg(long, default_value_t = 100_000)]
    churn: u64,

    /// JSON, a line per figure, instead of tables
    #[arg(long)]
    json: bool,
}

/// Runs it with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => crate::failed(&error),
    }
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

/// A NATS server.
fn nats() -> Result<Server, Error> {
    Ok(Server::builder().jetstream(true).start()?)
}

/// The service before that server.
fn service(options: &Options, nats: &Server) -> Result<Process, Error> {
    start(options, "service", Role::NatsGrpc { nats: nats.url().to_owned() })
}

fn start(options: &Options, name: &'static str, role: Role) -> Result<Process, Error> {
    Process::start(name, &Job { workers: options.workers.map(NonZeroUsize::get), role })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }
}
