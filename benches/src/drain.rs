//! The program `drain`: consumers that shut down under load.

mod relay;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Request, StatusCode};
use http_body_util::Full;
use narun_gateway::{Gateway, GatewayService, NotFound, Route};
use narun_support::Server;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tower::{Service, ServiceExt};

use self::relay::Relay;
use crate::handler::echo;
use crate::{Error, failed};

const APP: &str = "drain";

/// How long a request may take; a lost one is 504 then.
const TIMEOUT: Duration = Duration::from_secs(4);

/// How long a consumer may take to be ready.
const GRACE: Duration = Duration::from_secs(10);

/// Counts requests that are lost while consumers shut down.
#[derive(Debug, Parser)]
struct DrainOptions {
    /// How many consumers shut down.
    #[arg(long, default_value_t = 20)]
    leavers: u32,

    /// Requests at a time.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,

    /// How long each consumer serves together with the next one before it shuts down.
    #[arg(long, default_value_t = 500)]
    serve_ms: u64,

    /// Delay between each consumer and the server, each way.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let options = DrainOptions::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.map_err(Error::from).and_then(|runtime| runtime.block_on(run(&options)));
    match result {
        Ok(statuses) => report(&options, &statuses),
        Err(error) => failed(&error),
    }
}

fn report(options: &DrainOptions, statuses: &BTreeMap<StatusCode, u64>) -> ExitCode {
    let total: u64 = statuses.values().sum();
    let lost = total - statuses.get(&StatusCode::OK).copied().unwrap_or_default();
    println!(
        "{} consumers left, {} ms away: {lost} of {total} requests lost",
        options.leavers, options.delay_ms
    );
    for (status, count) in statuses {
        println!("  {count:>9} {status}");
    }
    if lost * 10_000 > total { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn run(options: &DrainOptions) -> Result<BTreeMap<StatusCode, u64>, Error> {
    let server = Server::start()?;
    let relay = Relay::start(server.port(), Duration::from_millis(options.delay_ms)).await?;
    let gateway = Gateway::builder(async_nats::connect(server.url()).await?)
        .route(Route::post("/drain", APP))
        .timeout(TIMEOUT)
        .build()
        .await?;

    let mut oldest = Consumer::start(&relay).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..options.concurrency {
        load.spawn(requests(gateway.service(), stop.clone()));
    }
    for _ in 0..options.leavers {
        let next = Consumer::start(&relay).await?;
        tokio::time::sleep(Duration::from_millis(options.serve_ms)).await;
        oldest.leave().await?;
        oldest = next;
    }
    stop.store(true, Ordering::Relaxed);
    let mut statuses = BTreeMap::new();
    while let Some(counted) = load.join_next().await {
        for (status, count) in counted? {
            *statuses.entry(status).or_default() += count;
        }
    }
    oldest.leave().await?;
    Ok(statuses)
}

/// A consumer that serves until [`leave`](Self::leave) is called.
struct Consumer {
    signal: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), narun_consumer::ServeError>>,
}

impl Consumer {
    async fn start(relay: &Relay) -> Result<Self, Error> {
        let client = async_nats::connect(relay.url()).await?;
        let (signal, signalled) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let serve = narun_consumer::serve(client, APP, tower::service_fn(echo))
            .on_ready(move || {
                let _ = ready.send(());
            })
            .with_graceful_shutdown(async { drop(signalled.await) });
        let serving = tokio::spawn(serve.into_future());
        tokio::time::timeout(GRACE, is_ready).await??;
        Ok(Self { signal, serving })
    }

    async fn leave(self) -> Result<(), Error> {
        drop(self.signal);
        Ok(self.serving.await??)
    }
}

/// Makes one request after the other, and counts them by status.
async fn requests(mut service: GatewayService<NotFound>, stop: Arc<AtomicBool>) -> BTreeMap<StatusCode, u64> {
    let body = Bytes::from(vec![b'x'; 200]);
    let mut statuses = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = http::Uri::from_static("/drain");
        let Ok(ready) = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await;
        let Ok(response) = ready.call(request).await;
        *statuses.entry(response.status()).or_default() += 1;
    }
    statuses
}
