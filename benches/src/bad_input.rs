//! The program `bad_input`.

mod config;
mod early;
mod edge;
mod fields;
mod frames;
mod framing;
mod host;
mod http2;
mod http2_frames;
mod keys;
mod layers;
mod pauses;
mod raw;
mod report;
mod site;
mod tasks;
mod uploads;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::runtime::Builder;

use self::report::Report;
use self::site::Site;
use crate::Error;

/// Sends bad input to a gateway and a consumer, and prints a verdict for each.
#[derive(Clone, Debug, Parser)]
struct BadInputOptions {
    /// Only these groups
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Group::ALL)]
    only: Vec<Group>,

    /// Only the lines whose verdict is BAD
    #[arg(long)]
    bad: bool,
}

/// A kind of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Host fields, authorities and targets
    Host,
    /// Fields named by Connection, forged addresses and ids, cookies
    Fields,
    /// Lengths, transfer codings, upgrades, control characters
    Framing,
    /// Responses to clients that still send
    Early,
    /// Bodies that stop, handlers that are late
    Pauses,
    /// Idempotency keys and status resources
    Keys,
    /// Large bodies of durable requests
    Uploads,
    /// Frames, in both directions
    Frames,
    /// Messages in the stream of durable requests
    Tasks,
    /// Frames of HTTP/2
    Http2,
    /// Trusted proxies, and the limits of the server
    Edge,
    /// Layers around the gateway, and the app behind it
    Layers,
    /// Configurations and credentials
    Config,
}

impl Group {
    const ALL: [Self; 13] = [
        Self::Host,
        Self::Fields,
        Self::Framing,
        Self::Early,
        Self::Pauses,
        Self::Keys,
        Self::Uploads,
        Self::Frames,
        Self::Tasks,
        Self::Http2,
        Self::Edge,
        Self::Layers,
        Self::Config,
    ];
}

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::exit_code(run(&BadInputOptions::parse()))
}

/// Returns whether every response was as expected.
fn run(options: &BadInputOptions) -> Result<bool, Error> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut report = Report::new(options.bad);
    let result = runtime.block_on(send(options, &mut report));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result?;
    report.print_summary();
    Ok(report.is_good())
}

async fn send(options: &BadInputOptions, report: &mut Report) -> Result<(), Error> {
    let site = Site::start().await?;
    for group in &options.only {
        match group {
            Group::Host => host::send(&site, report).await,
            Group::Fields => fields::send(&site, report).await,
            Group::Framing => framing::send(&site, report).await,
            Group::Early => early::send(&site, report).await,
            Group::Pauses => pauses::send(&site, report).await,
            Group::Keys => keys::send(&site, report).await?,
            Group::Uploads => uploads::send(&site, report).await?,
            Group::Frames => frames::send(&site, report).await?,
            Group::Tasks => tasks::send(&site, report).await?,
            Group::Http2 => http2_frames::send(&site, report).await,
            Group::Edge => edge::send(&site, report).await?,
            Group::Layers => layers::send(&site, report).await?,
            Group::Config => config::send(&site, report).await?,
        }
    }
    // Whatever was sent, both processes still serve.
    let response = raw::get(site.gateway(), "/show/still").await;
    report.status("both processes still serve", 200, &response);
    Ok(())
}
