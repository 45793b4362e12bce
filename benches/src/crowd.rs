//! The program `crowd`.

mod client;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use futures::future::try_join_all;
use narun_support::Server;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{self, Instant};

use self::client::{Ending, Kind, Upload};
use crate::process::Process;
use crate::{Error, usage};

/// How much more memory than when it is idle the gateway may use for uploads, in MiB.
const MEMORY: f64 = 96.0;

/// How many connections are opened at a time, as the system's queue of new ones is short.
const OPENING: usize = 64;

/// How long uploads wait for each other with their last byte, if some of them wait for the gateway or got a response.
const SENDING: Duration = Duration::from_secs(10);

/// The gateway's configuration: one durable route, and the default limits.
const CONFIG: &str = "nats_stream: CROWD\nroutes:\n- { path: \"/jobs/\", app: nobody }\n";

/// Limits of the gateway's server that end connections soon.
const QUICK: &str = "server: { head_timeout_seconds: 3 }\n";

/// Opens many connections to a gateway, and looks at its memory and at how they end.
#[derive(Clone, Debug, Parser)]
struct CrowdOptions {
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Part::Uploads, Part::Idle, Part::Drip])]
    part: Vec<Part>,

    /// Few connections, and short limits of the server, with all parts at the same time
    #[arg(long, conflicts_with = "connections")]
    quick: bool,

    /// Connections, instead of the part's own number
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    connections: Option<u64>,

    /// Seconds until each connection must have ended
    #[arg(long, default_value_t = 180)]
    limit: u64,
}

/// What the connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Upload all but the last byte
    Uploads,
    /// Send nothing
    Idle,
    /// Send a byte each second
    Drip,
}

/// A nats-server, and a gateway in front of it. Dropping this value ends them.
struct Site {
    gateway: Process,
    address: SocketAddr,
    _directory: TempDir,
    _nats: Server,
}

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::exit_code(run(&CrowdOptions::parse()))
}

/// Returns whether all goals were reached.
fn run(options: &CrowdOptions) -> Result<bool, Error> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut good = true;
    println!("part     connections  idle MiB  peak MiB  seconds  endings");
    let crowd = async |part: &Part| {
        let site = block_in_place(|| Site::start(options.quick))?;
        crowd(*part, options, &site).await
    };
    if options.quick {
        let all = runtime.block_on(try_join_all(options.part.iter().map(crowd)))?;
        return Ok(all.into_iter().all(|good| good));
    }
    for part in &options.part {
        good &= runtime.block_on(crowd(part))?;
    }
    Ok(good)
}

async fn crowd(part: Part, options: &CrowdOptions, site: &Site) -> Result<bool, Error> {
    let connections = options.connections.unwrap_or(part.connections(options.quick));
    let limit = Duration::from_secs(options.limit);
    client::until_served(site.address, limit).await?;
    let idle = usage::rss_mib(site.gateway.id());
    usage::reset_peak(site.gateway.id());

    let (start, opening) = (Instant::now(), Arc::new(Semaphore::new(OPENING)));
    let (all, last) = watch::channel(false);
    let sent = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..connections {
        let kind = match part {
            Part::Uploads => Kind::Upload,
            Part::Idle => Kind::Idle,
            Part::Drip if number % 2 == 0 => Kind::DripHead,
            Part::Drip => Kind::DripBody,
        };
        let upload = Upload { sent: sent.clone(), last: last.clone() };
        tasks.spawn(client::run(kind, site.address, opening.clone(), upload, start + limit));
    }
    // An upload whose response comes early is never complete.
    while part == Part::Uploads && sent.load(Ordering::Relaxed) < connections && start.elapsed() < SENDING {
        time::sleep(Duration::from_millis(10)).await;
    }
    all.send_replace(true);
    let mut endings = BTreeMap::new();
    while let Some(ending) = tasks.join_next().await {
        *endings.entry(ending?).or_insert(0_u64) += 1;
    }
    let peak = usage::peak_rss_mib(site.gateway.id());

    let ended = !endings.keys().any(|ending| *ending == Ending::Open || *ending == Ending::NotOpened);
    let answered =
        part != Part::Uploads || endings.keys().all(|ending| matches!(ending, Ending::Response(_)));
    let grown = peak.zip(idle).map_or(0.0, |(peak, idle)| peak - idle);
    let small = part != Part::Uploads || grown <= MEMORY;
    let counts: Vec<_> = endings.iter().map(|(ending, count)| format!("{count} {ending}")).collect();
    let good = ended && answered && small;
    println!(
        "{:<8} {connections:>11}  {:>8.1}  {:>8.1}  {:>7.1}  {}{}",
        format!("{part:?}").to_lowercase(),
        idle.unwrap_or(f64::NAN),
        peak.unwrap_or(f64::NAN),
        start.elapsed().as_secs_f64(),
        counts.join(", "),
        if good { "" } else { "  MISSED" },
    );
    Ok(good)
}

impl Part {
    fn connections(self, quick: bool) -> u64 {
        match (self, quick) {
            (Self::Uploads, false) => 400,
            (Self::Idle, false) => 10_000,
            (Self::Drip, false) => 1_000,
            (Self::Uploads, true) => 20,
            (Self::Idle, true) => 200,
            (Self::Drip, true) => 50,
        }
    }
}

impl Site {
    fn start(quick: bool) -> Result<Self, Error> {
        let nats = Server::builder().jetstream(true).start()?;
        let directory = tempfile::Builder::new().prefix("narun-crowd-").tempdir()?;
        let path = directory.path().join("gateway.yaml");
        let limits = if quick { QUICK } else { "" };
        let addresses = "server_addr: \"127.0.0.1:0\"\nmetrics_addr: \"127.0.0.1:0\"\n";
        std::fs::write(&path, format!("nats_url: \"{}\"\n{addresses}{limits}{CONFIG}", nats.url()))?;
        let mut command = Process::example("gateway")?;
        let gateway = Process::of("gateway", command.arg("--config").arg(&path))?;
        let address = gateway.address().parse()?;
        Ok(Self { gateway, address, _directory: directory, _nats: nats })
    }
}
