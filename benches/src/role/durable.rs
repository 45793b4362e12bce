//! narun with durable delivery, for the fault harness: gateways, and consumers that note their executions in a file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{process, thread};

use async_nats::ConnectOptions;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use narun_consumer::{Body, Delivery, Received};
use narun_gateway::{Gateway, Namespace, Route, StreamSettings};
use serde::{Deserialize, Serialize};

use super::http_server;
use super::parent;
use crate::Error;
use crate::test_request::{Act, TestRequest};

/// How many ack waits a handler blocks that was asked to: more than the deliveries that are the default limit.
const BLOCKED: u32 = 7;

/// How long a slow handler takes.
const SLOW: Duration = Duration::from_secs(4);

/// The payload of a panic that a request asked for.
const TOLD_TO: &str = "told to panic";

/// The settings of gateways and consumers of an app with durable requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DurableSetup {
    /// The addresses of all servers.
    pub(crate) nats: Vec<String>,
    pub(crate) namespace: String,
    pub(crate) app: String,
    pub(crate) replicas: usize,
    pub(crate) max_messages: Option<u64>,
    /// How long the gateway waits for a response.
    pub(crate) timeout: Duration,
    /// The expiry of requests below `/short/`.
    pub(crate) expiry: Duration,
    pub(crate) ack_wait: Duration,
    pub(crate) max_deliveries: u64,
    pub(crate) concurrency: usize,
    /// Worker threads of a consumer; `None` for a current-thread runtime.
    pub(crate) workers: Option<usize>,
    /// How long a consumer waits before it connects again; `None` for the client's default.
    pub(crate) reconnect: Option<Duration>,
    /// The file in which all consumers note their executions.
    pub(crate) record: PathBuf,
}

impl DurableSetup {
    fn stream(&self) -> StreamSettings {
        let settings = StreamSettings::new().replicas(self.replicas);
        match self.max_messages {
            Some(messages) => settings.max_messages(messages),
            None => settings,
        }
    }
}

/// Serves HTTP, with requests to `/jobs/` and `/short/` durable, and those to `/direct/` direct.
pub(super) async fn gateway(setup: DurableSetup) -> Result<(), Error> {
    let client = async_nats::connect(&*setup.nats).await?;
    let jobs = Route::any("/jobs/{*rest}", &setup.app).durable();
    let short = Route::any("/short/{*rest}", &setup.app).durable().expiry(setup.expiry);
    let gateway = Gateway::builder(client)
        .namespace(Namespace::new(&setup.namespace)?)
        .stream_settings(setup.stream())
        .route(jobs)
        .route(short)
        .route(Route::any("/direct/{*rest}", &setup.app))
        .timeout(setup.timeout)
        .build()
        .await?;
    http_server::serve(gateway.service()).await
}

/// Serves the handler until the process ends.
pub(super) async fn consumer(setup: DurableSetup) -> Result<(), Error> {
    hush();
    let mut options = ConnectOptions::new();
    if let Some(pause) = setup.reconnect {
        options = options.reconnect_delay_callback(move |_| pause);
    }
    let client = options.connect(&*setup.nats).await?;
    let record = Arc::new(OpenOptions::new().create(true).append(true).open(&setup.record)?);
    let (stream, app, blocked) = (setup.stream(), setup.app.clone(), setup.ack_wait * BLOCKED);
    let handler = tower::service_fn(move |request| job(request, record.clone(), blocked));
    narun_consumer::serve(client, setup.app, handler)
        .stream(setup.namespace)
        .stream_settings(stream)
        .ack_wait(setup.ack_wait)
        .max_deliveries(setup.max_deliveries)
        .redelivery_delay(Duration::from_millis(20)..=Duration::from_millis(200))
        .concurrency(setup.concurrency)
        .on_ready(move || parent::ready(&app))
        .await?;
    Err("the consumer stopped".into())
}

/// Does what the request asks for, and notes when it begins and when it is done.
async fn job(
    request: Request<Body>,
    record: Arc<File>,
    blocked: Duration,
) -> Result<Response<Full<bytes::Bytes>>, Error> {
    let test = TestRequest::of_path(request.uri().path()).ok_or("no such test")?;
    let received = request.extensions().get::<Received>().ok_or("not a request of narun")?;
    let id = received.id();
    let count = match received.delivery() {
        Delivery::Durable { count, .. } => count,
        _ => 0,
    };
    let note = |what| {
        // One write, so that lines of several processes do not mix.
        let line = format!("{what} {} {id} {count} {}\n", test.number, process::id());
        (&*record).write_all(line.as_bytes())
    };
    note("start")?;
    let content = request.into_body().collect().await?.to_bytes();
    tokio::time::sleep(Duration::from_millis(test.number * 7 % 20)).await;
    match test.act {
        Act::Work => {}
        Act::Panic => panic::panic_any(TOLD_TO),
        Act::Fail => return Err("told to fail".into()),
        Act::Exit => process::exit(3),
        Act::Block => thread::sleep(blocked),
        Act::Slow => tokio::time::sleep(SLOW).await,
    }
    note("end")?;
    Ok(Response::new(Full::new(test.receipt(&content).into())))
}

/// Does not print panics that a request asked for.
fn hush() {
    let other = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&TOLD_TO) {
            other(info);
        }
    }));
}
