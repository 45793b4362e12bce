//! Ships the audit records of NATS over gRPC to Loki, through a `tracing` layer.
//!
//! ```text
//! cargo run --example audit_loki
//! LOKI_URL=http://127.0.0.1:3100 cargo run --example audit_loki
//! ```
//!
//! It serves, makes a few calls itself, ships their records, and ends. Without `LOKI_URL` it plays Loki too: it prints
//! the records that arrive, and checks them. A service of your own needs [`Loki`] and [`Shipper`].
//!
//! Loki must have a single tenant (`auth_enabled: false`); otherwise it needs the tenant in a header. This query finds
//! the records of the example:
//!
//! ```text
//! curl -G http://127.0.0.1:3100/loki/api/v1/query_range \
//!   --data-urlencode 'query={service="nats-grpc-service", target="narun::audit"} | json | code != "OK"'
//! ```
//!
//! Calls never wait for Loki. Records wait in a queue while Loki is away or responds with 429. Records are dropped if the
//! queue is full, or if Loki refuses them, for example because they are too old. Their number and the reason are logged.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use narun_examples::http::listen;
use narun_examples::nats::{self, Nats};
use narun_examples::say;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::nats_service_client::NatsServiceClient;
use narun_grpc::{NatsService, Settings, pb};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tower::service_fn;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The target of audit records.
const AUDIT: &str = "narun::audit";

/// How many records may wait for Loki; more are dropped.
const WAITING: usize = 8192;

/// How many records are sent at a time, and how long a batch waits for more.
const BATCH: usize = 500;
const GATHER: Duration = Duration::from_millis(200);

/// How long Loki may take to respond, and the first and the longest pause after a failure.
const LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many characters of Loki's response are logged.
const LONGEST_TEXT: usize = 1024;

/// How long the last records may take at the end.
const PATIENCE: Duration = Duration::from_secs(20);

/// The size limit of a push or a response in bytes, and the age limit of a record.
const LARGEST: usize = 4 << 20;
const OLDEST: Duration = Duration::from_secs(3600);

/// Nanoseconds since 1970, and a line of JSON.
type AuditLine = (u128, String);

/// A layer that puts a line of JSON into the queue for each event.
struct Loki {
    queue: mpsc::Sender<AuditLine>,
    counts: Arc<Counts>,
}

/// How many records were shipped and dropped.
#[derive(Debug, Default)]
struct Counts {
    all: AtomicU64,
    shipped: AtomicU64,
    /// Dropped because the queue was full, and not logged yet.
    full: AtomicU64,
}

/// Ships the records in the queue until it is dropped.
struct Shipper {
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
    counts: Arc<Counts>,
}

/// Where records go.
struct Push {
    client: Client<HttpConnector, Full<Bytes>>,
    to: Uri,
    service: String,
}

impl Loki {
    /// Returns the layer, and the shipper of its records to the Loki at this URL, under the label `service`.
    fn new(url: &str, service: &str) -> anyhow::Result<(Self, Shipper)> {
        let to: Uri = format!("{}/loki/api/v1/push", url.trim_end_matches('/')).parse()?;
        ensure!(to.scheme_str() == Some("http"), "LOKI_URL must be an http URL");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let push = Push { client, to, service: service.to_owned() };
        let (queue, records) = mpsc::channel(WAITING);
        let (stop, stopped) = oneshot::channel();
        let counts = Arc::<Counts>::default();
        let mut task = JoinSet::new();
        task.spawn(ship(push, records, stopped, counts.clone()));
        Ok((Self { queue, counts: counts.clone() }, Shipper { stop, task, counts }))
    }
}

impl<S: Subscriber> Layer<S> for Loki {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.counts.all.fetch_add(1, Ordering::Relaxed);
        if self.queue.try_send((now.as_nanos(), Value::Object(fields.0).to_string())).is_err() {
            self.counts.full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The fields of an event.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Shipper {
    /// Ships the records that are still in the queue, and returns how many were shipped and dropped in all.
    async fn end(self) -> (u64, u64) {
        let Self { stop, mut task, counts } = self;
        // It may have ended by itself.
        let _ = stop.send(());
        // Records that are left then are dropped with the task.
        let _ = timeout(PATIENCE, task.join_next()).await;
        let shipped = counts.shipped.load(Ordering::Relaxed);
        (shipped, counts.all.load(Ordering::Relaxed) - shipped)
    }
}

async fn ship(
    loki: Push,
    mut records: mpsc::Receiver<AuditLine>,
    mut stopped: oneshot::Receiver<()>,
    counts: Arc<Counts>,
) {
    let (mut batch, mut stopping) = (Vec::new(), false);
    loop {
        if !stopping {
            tokio::select! {
                biased;
                _ = &mut stopped => stopping = true,
                taken = records.recv_many(&mut batch, BATCH) => match taken {
                    0 => return,
                    // More are likely to come soon.
                    1..BATCH => sleep(GATHER).await,
                    _ => {}
                },
            }
        }
        while batch.len() < BATCH
            && let Ok(record) = records.try_recv()
        {
            batch.push(record);
        }
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let body = loki.body(&mut batch);
        let (mut pause, mut logged) = (PAUSE, false);
        loop {
            match loki.send(body.clone()).await {
                Ok(()) => _ = counts.shipped.fetch_add(count, Ordering::Relaxed),
                Err(PushError::Refused(error)) => {
                    tracing::warn!(count, error, "Loki refused some of these audit records, or all");
                }
                Err(PushError::Away(error)) => {
                    if !std::mem::replace(&mut logged, true) {
                        tracing::warn!(error, "audit records wait for Loki");
                    }
                    counts.log();
                    tokio::select! {
                        () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                        _ = &mut stopped, if !stopping => (stopping, pause) = (true, PAUSE),
                    }
                    continue;
                }
            }
            break;
        }
        counts.log();
    }
}

impl Counts {
    /// Logs how many were dropped since the last time.
    fn log(&self) {
        let count = self.full.swap(0, Ordering::Relaxed);
        if count > 0 {
            tracing::warn!(count, "audit records were dropped because too many wait");
        }
    }
}

/// Why Loki did not accept a batch.
enum PushError {
    /// Retry later.
    Away(String),
    /// Do not retry. Loki accepted the valid records of the batch.
    Refused(String),
}

impl Push {
    /// Encodes a batch, and clears it.
    fn body(&self, batch: &mut Vec<AuditLine>) -> Bytes {
        let values: Vec<_> = batch.drain(..).map(|(time, line)| json!([time.to_string(), line])).collect();
        // Few labels, as Loki keeps a stream for each combination. Queries can filter by the fields in the lines.
        let labels = json!({ "service": self.service, "target": AUDIT });
        json!({ "streams": [{ "stream": labels, "values": values }] }).to_string().into()
    }

    /// Sends a batch. Sending it again is safe: Loki ignores records that it already has.
    async fn send(&self, body: Bytes) -> Result<(), PushError> {
        let request = Request::post(self.to.clone()).header("content-type", "application/json");
        let request = request.body(Full::new(body)).map_err(|error| PushError::Refused(error.to_string()))?;
        let response = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            // The connection can be used again when the whole response is read.
            let text = Limited::new(response, LARGEST).collect().await.map_err(anyhow::Error::from_boxed)?;
            let text = String::from_utf8_lossy(&text.to_bytes()).trim().chars().take(LONGEST_TEXT).collect();
            anyhow::Ok((status, text))
        };
        let (status, text): (_, String) = match timeout(LIMIT, response).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(PushError::Away(format!("{error:#}"))),
            Err(_) => return Err(PushError::Away("the request to Loki timed out".to_owned())),
        };
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::TOO_MANY_REQUESTS => Err(PushError::Away(format!("Loki responded {status}: {text}"))),
            status if status.is_server_error() => {
                Err(PushError::Away(format!("Loki responded {status}: {text}")))
            }
            status => Err(PushError::Refused(format!("Loki responded {status}: {text}"))),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::exit(run().await)
}

async fn run() -> anyhow::Result<()> {
    let settings = Settings::from_env()?;
    // Spawned tasks end with this function.
    let mut tasks = JoinSet::new();
    let played = Played::default();
    let url = match &settings.loki_url {
        Some(url) => url.clone(),
        None => {
            let listener = listen(&["127.0.0.1:0".to_owned()], "nothing").await?;
            let url = format!("http://{}", listener.local_addr()?);
            let played = played.clone();
            let service = service_fn(move |request| played.clone().take(request));
            tasks.spawn(narun_examples::http::serve(listener, service, std::future::pending()));
            url
        }
    };
    let (loki, shipper) = Loki::new(&url, &settings.service_name)?;
    let logged = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into()).from_env_lossy();
    tracing_subscriber::registry()
        .with(
            tracing_subscriber::fmt::layer()
                .with_ansi(io::stderr().is_terminal())
                .with_writer(io::stderr)
                .with_filter(logged),
        )
        .with(loki.with_filter(Targets::new().with_target(AUDIT, LevelFilter::INFO)))
        .init();

    let own = std::env::var_os("NATS_URLS").filter(|urls| !urls.is_empty());
    let own = own.and(settings.nats_urls.first().cloned());
    let nats = tokio::task::spawn_blocking(|| Nats::at_or_private_with_jetstream(own)).await??;
    let called = serve_and_call(nats.url(), &mut tasks).await;
    let (shipped, dropped) = shipper.end().await;
    nats.stop()?;
    let calls = called?;
    ensure!((shipped, dropped) == (calls, 0), "{shipped} records were shipped, {dropped} dropped");
    if settings.loki_url.is_none() {
        played.check()?;
    }
    say!("{shipped} records shipped, none dropped");
    Ok(())
}

/// Serves, makes calls, some of which fail, and returns their number.
async fn serve_and_call(nats_url: &str, tasks: &mut JoinSet<()>) -> anyhow::Result<u64> {
    let service = NatsService::builder(nats::connect(nats_url, "narun-grpc").await?)
        .authenticator(TrustRequest::new())
        .build();
    let listener = listen(&["127.0.0.1:0".to_owned()], "nothing").await?;
    let address: SocketAddr = listener.local_addr()?;
    let server = Server::builder().add_service(service.into_server());
    tasks.spawn(async move {
        if let Err(error) = server.serve_with_incoming(TcpIncoming::from(listener)).await {
            tracing::warn!(%error, "the server ended");
        }
    });

    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let mut client = NatsServiceClient::new(channel);
    let user_id = "ann".to_owned();
    let publish = |subject: &str| pb::PublishRequest {
        user_id: user_id.clone(),
        subject: subject.to_owned(),
        data: "hello".into(),
        ..Default::default()
    };
    client.publish(publish("greetings.first")).await?;
    ensure!(client.publish(publish("greetings.*")).await.is_err(), "a wildcard was published to");
    let get =
        pb::KvGetRequest { user_id, bucket: "settings".into(), key: "colour".into(), ..Default::default() };
    client.kv_get(get).await?;
    Ok(3)
}

/// A Loki that counts the records that it receives, and prints them.
#[derive(Clone, Default)]
struct Played(Arc<Mutex<BTreeMap<String, u64>>>);

impl Played {
    async fn take(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = match self.read(request).await {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(error) => {
                let _ = writeln!(io::stderr(), "invalid push: {error:#}");
                StatusCode::BAD_REQUEST
            }
        };
        Ok(response)
    }

    async fn read(&self, request: Request<Incoming>) -> anyhow::Result<()> {
        ensure!(request.method() == Method::POST && request.uri().path() == "/loki/api/v1/push");
        // Otherwise Loki expects another encoding.
        ensure!(request.headers().get("content-type").is_some_and(|kind| kind == "application/json"));
        let body =
            Limited::new(request.into_body(), LARGEST).collect().await.map_err(anyhow::Error::from_boxed)?;
        let push: Value = serde_json::from_slice(&body.to_bytes())?;
        for stream in push["streams"].as_array().context("no streams")? {
            let labels = &stream["stream"];
            for value in stream["values"].as_array().context("no values")? {
                let [time, line] = [0, 1].map(|index| value[index].as_str());
                let (time, line) = time.zip(line).context("no time and line")?;
                let age = SystemTime::UNIX_EPOCH + Duration::from_nanos(time.parse()?);
                ensure!(age.elapsed()? < OLDEST, "too old");
                say!("{labels} {line}");
                let record: Value = serde_json::from_str(line)?;
                let [method, code] = ["method", "code"].map(|field| record[field].as_str());
                let (method, code) = method.zip(code).context("no method and code")?;
                let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                *seen.entry(format!("{method} {code}")).or_default() += 1;
            }
        }
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = ["KVGet OK", "Publish INVALID_ARGUMENT", "Publish OK"];
        if !seen.iter().map(|(what, count)| (what.as_str(), *count)).eq(expected.map(|what| (what, 1))) {
            bail!("other records arrived: {seen:?}");
        }
        Ok(())
    }
}
