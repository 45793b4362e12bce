//! The program `soak`.

mod exchanges;

use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use narun_gateway::{Gateway, Route};
use narun_support::Server;
use serde_json::json;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time;

use self::exchanges::{Exchanges, TIMEOUT};
use crate::process::Process;
use crate::role::{DeliveryKind, Job, NatsApp, Role};
use crate::{Error, usage};

const APP: &str = "soak";

/// By how much the memory may grow after the first tenth, in MiB: less than a byte for each of ten
/// million exchanges.
const TOLERANCE: f64 = 8.0;

/// Makes requests that time out or are cancelled, and measures the memory.
#[derive(Clone, Debug, Parser)]
struct SoakOptions {
    /// How many requests are made
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(10..))]
    exchanges: u64,

    /// Requests at a time
    #[arg(long, default_value_t = 4096)]
    tasks: usize,

    /// JSON, a line per tenth, instead of a table
    #[arg(long)]
    json: bool,
}

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    crate::exit_code(run(&SoakOptions::parse()))
}

/// Returns whether all requests ended as expected and the memory did not grow.
fn run(options: &SoakOptions) -> Result<bool, Error> {
    let nats = Server::start()?;
    let at = NatsApp { nats: nats.url().to_owned(), app: APP.to_owned(), delivery: DeliveryKind::Direct };
    let silent = Process::start("silent", &Job { workers: None, role: Role::Silent { at } })?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(soak(options, nats.url(), silent.address()));
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

async fn soak(options: &SoakOptions, nats: &str, app: &str) -> Result<bool, Error> {
    let client = async_nats::connect(nats).await?;
    let route = Route::any("/{*rest}", app);
    let gateway = Gateway::builder(client).route(route).timeout(TIMEOUT).build().await?;
    let exchanges = Arc::new(Exchanges::new(options.exchanges));
    let mut memory = Memory::new(options.json);
    memory.look(0);

    let mut tasks = JoinSet::new();
    for _ in 0..options.tasks {
        tasks.spawn(exchanges.clone().make(gateway.service()));
    }
    for tenth in 1..10 {
        let made = options.exchanges / 10 * tenth;
        // A task ends early only with a panic.
        while exchanges.made() < made && !tasks.is_empty() {
            time::sleep(Duration::from_millis(10)).await;
            while tasks.try_join_next().is_some() {}
        }
        memory.look(made);
    }
    while tasks.join_next().await.is_some() {}
    memory.look(options.exchanges);
    eprintln!("{exchanges}");
    Ok(exchanges.are_as_expected() && memory.growth().is_none_or(|growth| growth <= TOLERANCE))
}

/// The memory of this process, measured after each tenth.
#[derive(Debug)]
struct Memory {
    json: bool,
    start: Instant,
    /// In MiB; `None` if the system does not report it.
    looks: Vec<Option<f64>>,
}

impl Memory {
    fn new(json: bool) -> Self {
        if !json {
            println!("exchanges   seconds      MiB");
        }
        Self { json, start: Instant::now(), looks: Vec::new() }
    }

    fn look(&mut self, exchanges: u64) {
        let mib = usage::rss_mib(process::id());
        let seconds = self.start.elapsed().as_secs_f64();
        if self.json {
            println!("{}", json!({ "exchanges": exchanges, "seconds": seconds, "rss_mib": mib }));
        } else {
            println!("{exchanges:>9} {seconds:>9.1} {:>8.1}", mib.unwrap_or(f64::NAN));
        }
        self.looks.push(mib);
    }

    /// The growth from the first tenth to the end. Before that, buffers grow to the size that they keep.
    fn growth(&self) -> Option<f64> {
        Some((*self.looks.last()?)? - (*self.looks.get(1)?)?)
    }
}
