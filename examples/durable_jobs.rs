//! Durable requests: a slow handler, a crash in the middle, a dead letter, and a response that is fetched later.
//!
//! ```text
//! cargo run --example durable_jobs
//! ```
//!
//! It runs a private nats-server with JetStream (or uses that of `--nats-url` or the environment variable `NATS_URL`),
//! a gateway, and workers in processes of their own. It prints what happens, and ends by itself: the exit code is 0 only
//! if every step succeeded.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use http::{Method, Request, Response, StatusCode, header};
use narun_consumer::{DeadLetters, Delivery, Received};
use narun_examples::nats::{self, Nats};
use narun_examples::process::Process;
use narun_examples::signal::Shutdown;
use narun_examples::{client, http as server, say};
use narun_gateway::{Gateway, Namespace, Route};
use tokio::net::TcpListener;
use tracing::level_filters::LevelFilter;

/// The stream, which only this program uses.
const STREAM: &str = "JOBS";
const APP: &str = "jobs";

/// How often a job is delivered before it becomes a dead letter.
const DELIVERIES: u64 = 3;

/// How long a delivery may go without an acknowledgement before another worker gets the job.
const ACK_WAIT: Duration = Duration::from_secs(1);

#[derive(Parser)]
struct Args {
    /// A nats-server with JetStream to use instead of a private one.
    #[arg(long, env = "NATS_URL", hide_env_values = true, global = true)]
    nats_url: Option<String>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Runs one worker until it is stopped. The program starts its workers with this command.
    Worker {
        /// Whether the bug is fixed.
        #[arg(long)]
        fixed: bool,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log_from(LevelFilter::WARN);
    let args = Args::parse();
    narun_examples::exit(match args.part {
        Some(Part::Worker { fixed }) => work(args.nats_url, fixed).await,
        None => start(args.nats_url).await,
    })
}

/// A worker: an ordinary router, and a consumer that serves it.
async fn work(nats_url: Option<String>, fixed: bool) -> anyhow::Result<()> {
    let nats_url = nats_url.context("a worker needs --nats-url")?;
    // narun logs panics, without a backtrace.
    std::panic::set_hook(Box::new(|_| {}));
    let shutdown = Shutdown::on_signal()?;
    let router = Router::new()
        .route("/jobs/quick", post(|| async { "done" }))
        .route("/jobs/slow", post(slow))
        .route("/jobs/crash", post(crash))
        .route("/jobs/buggy", post(buggy))
        .with_state(fixed);
    narun_consumer::serve(nats::connect(&nats_url, "worker").await?, APP, router)
        .stream(STREAM)
        .ack_wait(ACK_WAIT)
        .max_deliveries(DELIVERIES)
        .redelivery_delay(Duration::from_millis(100)..=Duration::from_secs(1))
        .on_ready(|| say!("ready"))
        .with_graceful_shutdown(shutdown.begun())
        .await
        .context("the worker ended")
}

/// Takes three times the ack wait. narun extends it with progress acknowledgements.
async fn slow() -> &'static str {
    tokio::time::sleep(3 * ACK_WAIT).await;
    "done, slowly"
}

/// Ends its process in the first delivery.
async fn crash(request: axum::extract::Request) -> String {
    let count = deliveries(&request);
    if count == 1 {
        std::process::exit(9);
    }
    format!("done, in delivery {count}")
}

/// Panics until the bug is fixed.
async fn buggy(State(fixed): State<bool>) -> &'static str {
    assert!(fixed, "the bug");
    "done, now that the bug is fixed"
}

fn deliveries(request: &axum::extract::Request) -> u64 {
    match request.extensions().get::<Received>().map(Received::delivery) {
        Some(Delivery::Durable { count, .. }) => count,
        _ => 0,
    }
}

async fn start(nats_url: Option<String>) -> anyhow::Result<()> {
    let nats = Nats::at_or_private_with_jetstream(nats_url)?;
    let result = Story::begin(nats.url()).await?.run().await;
    nats.stop()?;
    result
}

/// The steps of this example, and what they need.
struct Story {
    nats_url: String,
    gateway: SocketAddr,
    dead_letters: DeadLetters,
    begun: Instant,
}

impl Story {
    /// Starts a gateway in this process.
    async fn begin(nats_url: &str) -> anyhow::Result<Self> {
        let gateway = Gateway::builder(nats::connect(nats_url, "gateway").await?)
            .namespace(Namespace::new(STREAM)?)
            .route(Route::post("/jobs/{*rest}", APP).durable())
            .timeout(Duration::from_secs(30))
            .build()
            .await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(server::serve(listener, gateway.service(), std::future::pending()));
        Ok(Self {
            nats_url: nats_url.to_owned(),
            gateway: address,
            dead_letters: DeadLetters::new(nats::connect(nats_url, "dead letters").await?, STREAM)?,
            begun: Instant::now(),
        })
    }

    async fn run(&self) -> anyhow::Result<()> {
        self.say("A gateway with the durable route POST /jobs/…, and one worker.");
        let worker = self.worker(false).await?;
        self.expect("quick", "done").await?;

        self.chapter("A job that takes three times the ack wait");
        self.expect("slow", "done, slowly").await?;

        self.chapter("A job that kills its worker");
        let crash = self.expect("crash", "done, in delivery 2");
        let (crash, worker) = tokio::join!(crash, self.replace(worker));
        crash?;
        let worker = worker?;

        self.chapter("A job whose response is fetched later");
        let location = self.post_for_later("slow").await?;
        self.fetch(&location, StatusCode::OK, "done, slowly").await?;

        self.chapter("A job that fails because of a bug, until it becomes a dead letter");
        let location = self.post_for_later("buggy").await?;
        self.fetch(&location, StatusCode::INTERNAL_SERVER_ERROR, "").await?;
        let letters = self.dead_letters.list(Some(APP), 0, 10).await?;
        let [letter] = letters.as_slice() else {
            bail!("there should be one dead letter, not {}", letters.len())
        };
        self.say(&format!(
            "Dead letter {}: {}, in {} deliveries.",
            letter.sequence(),
            letter.reason(),
            letter.deliveries(),
        ));
        self.say("The bug is fixed, and the dead letter put back.");
        worker.stop().await?;
        let worker = self.worker(true).await?;
        self.dead_letters.put_back(letter.sequence()).await?;
        self.fetch(&location, StatusCode::OK, "done, now that the bug is fixed").await?;
        let left = self.dead_letters.list(Some(APP), 0, 10).await?;
        ensure!(left.is_empty(), "there should be no dead letter any more");

        worker.stop().await?;
        say!();
        self.say("Every step succeeded.");
        Ok(())
    }

    /// Sends a job without waiting for its response, and returns the response's location.
    async fn post_for_later(&self, job: &str) -> anyhow::Result<String> {
        let accepted = self.post(job, Some("respond-async")).await?;
        ensure!(accepted.status() == StatusCode::ACCEPTED, "the status should have been 202 Accepted");
        let location = accepted.headers().get(header::LOCATION).context("there should be a Location")?;
        Ok(location.to_str()?.to_owned())
    }

    /// Requests a location until the response is there, and compares it. An empty `body` matches any content.
    async fn fetch(&self, location: &str, status: StatusCode, body: &str) -> anyhow::Result<()> {
        loop {
            let response = client::send(self.gateway, Method::GET, location, Bytes::new()).await?;
            self.say(&format!("GET {location} -> {}", describe(&response)));
            if response.status() != StatusCode::ACCEPTED {
                return compare(&response, status, body);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Sends a job, waits for its response, and compares it.
    async fn expect(&self, job: &str, body: &str) -> anyhow::Result<()> {
        compare(&self.post(job, None).await?, StatusCode::OK, body)
    }

    async fn post(&self, job: &str, prefer: Option<&str>) -> anyhow::Result<Response<Bytes>> {
        let path = format!("/jobs/{job}");
        let mut request = Request::post(format!("http://{}{path}", self.gateway));
        if let Some(prefer) = prefer {
            request = request.header("prefer", prefer);
        }
        let fields = prefer.map_or(String::new(), |prefer| format!(" (Prefer: {prefer})"));
        self.say(&format!("POST {path}{fields} …"));
        let response = client::send_request(request.body(Bytes::new())?).await?;
        self.say(&format!("POST {path} -> {}", describe(&response)));
        Ok(response)
    }

    /// Waits until a worker has ended, and starts another one.
    async fn replace(&self, mut worker: Process) -> anyhow::Result<Process> {
        let status = worker.ended().await?;
        self.say(&format!("The worker is dead ({status}); another one is started."));
        self.worker(false).await
    }

    /// Starts a worker, which ends with this program.
    async fn worker(&self, fixed: bool) -> anyhow::Result<Process> {
        Process::start(&self.nats_url, ["worker"].into_iter().chain(fixed.then_some("--fixed"))).await
    }

    fn chapter(&self, title: &str) {
        say!();
        self.say(title);
    }

    fn say(&self, text: &str) {
        say!("{:5.1} s  {text}", self.begun.elapsed().as_secs_f64());
    }
}

fn describe(response: &Response<Bytes>) -> String {
    format!("{} {}", response.status(), String::from_utf8_lossy(response.body()).trim_end())
}

fn compare(response: &Response<Bytes>, status: StatusCode, body: &str) -> anyhow::Result<()> {
    ensure!(response.status() == status, "the status should have been {status}");
    ensure!(body.is_empty() || response.body() == body, "the response should have been {body:?}");
    Ok(())
}
