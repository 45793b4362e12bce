//! Large bodies in constant memory: an upload and a download, through a gateway and a consumer in processes of their own.
//!
//! ```text
//! cargo run --release --example upload_download -- --size 1073741824
//! ```
//!
//! It runs a private nats-server (or uses that of `--nats-url` or the environment variable `NATS_URL`), and shows
//! progress on standard error. At the end it prints a line of JSON with the speed, and the peak memory of each process.
//! The exit code is 0 only if every byte was right: a sender puts the CRC-32 of the body into a trailer, and the
//! receiver checks it.
//!
//! The parts can be started alone as well, for other clients:
//!
//! ```text
//! nats-server &
//! cargo run --release --example upload_download -- consumer --nats-url nats://127.0.0.1:4222 &
//! cargo run --release --example upload_download -- gateway --nats-url nats://127.0.0.1:4222 --listen 127.0.0.1:8080 &
//! curl -T FILE http://127.0.0.1:8080/up
//! curl http://127.0.0.1:8080/down/1000000 | wc -c
//! ```
//!
//! The consumer logs when a body is dropped before its end, for example because its client has left.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use clap::{Parser, Subcommand};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use narun_examples::nats::{self, Nats};
use narun_examples::process::Process;
use narun_examples::progress::{Progress, mib_per_second};
use narun_examples::signal::Shutdown;
use narun_examples::{http as server, memory, say};
use narun_gateway::{Gateway, Route};
use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;

const APP: &str = "bodies";

/// The trailer with the CRC-32 of a body, in decimal.
const CRC32: HeaderName = HeaderName::from_static(CRC32_NAME);
const CRC32_NAME: &str = "x-crc32";

/// How many bytes a body yields at once.
const CHUNK: usize = 64 * 1024;

/// Sends a body each way, through gateway and consumer.
#[derive(Parser)]
struct Args {
    /// How many bytes each way.
    #[arg(long, default_value_t = 256 << 20)]
    size: u64,
    /// A nats-server to use instead of a private one.
    #[arg(long, env = "NATS_URL", hide_env_values = true, global = true)]
    nats_url: Option<String>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// Runs the gateway alone.
    Gateway {
        /// Where HTTP is served; port 0 for any free port.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Runs the consumer alone.
    Consumer,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log_from(LevelFilter::WARN);
    let args = Args::parse();
    narun_examples::exit(match args.part {
        Some(Part::Gateway { listen }) => gateway(args.nats_url, listen).await,
        Some(Part::Consumer) => consumer(args.nats_url).await,
        None => start(args.nats_url, args.size).await,
    })
}

async fn gateway(nats_url: Option<String>, listen: SocketAddr) -> anyhow::Result<()> {
    let nats_url = nats_url.context("the gateway needs --nats-url")?;
    let shutdown = Shutdown::on_signal()?;
    let listener = server::listen(&[listen.to_string()], "--listen").await?;
    let gateway = Gateway::builder(nats::connect(&nats_url, "gateway").await?)
        .route(Route::any("/", APP).prefix())
        .build()
        .await?;
    say!("ready http://{}", listener.local_addr()?);
    tokio::select! {
        () = server::serve(listener, gateway.service(), shutdown.begun()) => {}
        () = gateway.closed() => bail!("the connection to NATS is dead"),
    }
    // Aborts the bodies that are still in flight, and notifies the consumer.
    gateway.shutdown(Duration::ZERO).await;
    Ok(())
}

async fn consumer(nats_url: Option<String>) -> anyhow::Result<()> {
    let nats_url = nats_url.context("the consumer needs --nats-url")?;
    let shutdown = Shutdown::on_signal()?;
    let router = Router::new().route("/up", any(up)).route("/down/{size}", get(down));
    narun_consumer::serve(nats::connect(&nats_url, "consumer").await?, APP, router)
        .on_ready(|| say!("ready"))
        .with_graceful_shutdown(shutdown.begun())
        .await
        .context("the consumer ended")
}

/// Receives a body, and responds with its length and CRC-32.
async fn up(body: axum::body::Body) -> Response {
    match check(body, |_| {}).await {
        Ok(received) => Json(received).into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}\n")).into_response(),
    }
}

/// Responds with a body of this size.
async fn down(Path(size): Path<u64>) -> impl IntoResponse {
    ([(header::TRAILER, CRC32_NAME)], axum::body::Body::new(Content::new(size)))
}

/// A body of noise, of which only two chunks are in memory; its CRC-32 is in its trailers.
struct Content {
    /// All chunks are slices of this.
    noise: Bytes,
    offset: usize,
    left: u64,
    sum: Option<crc32fast::Hasher>,
}

impl Content {
    fn new(size: u64) -> Self {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let noise = std::iter::repeat_with(next).take(2 * CHUNK).collect();
        Self { noise, offset: 0, left: size, sum: Some(crc32fast::Hasher::new()) }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        if length == 0 {
            let trailers = self.sum.take().map(|sum| HeaderMap::from_iter([(CRC32, sum.finalize().into())]));
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let chunk = self.noise.slice(self.offset..self.offset + length);
        // No two chunks in a row are the same.
        self.offset = (self.offset + 8191) % CHUNK;
        self.left -= length as u64;
        if let Some(sum) = &mut self.sum {
            sum.update(&chunk);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if self.left > 0 {
            tracing::warn!(left = self.left, "a body was dropped before its end");
        }
    }
}

/// The length and CRC-32 of a received body.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
struct ReceivedBody {
    bytes: u64,
    crc32: u32,
    /// Whether there was a trailer, with the same CRC-32.
    checked: bool,
}

/// Reads a body to its end, and compares it with the CRC-32 in its trailers, if there is one.
async fn check<B>(mut body: B, mut progress: impl FnMut(u64)) -> anyhow::Result<ReceivedBody>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<narun_consumer::BoxError>,
{
    let mut reading = Reading { bytes: 0, ended: false };
    let mut sum = crc32fast::Hasher::new();
    let mut expected = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| anyhow::Error::from_boxed(error.into()))?.into_data() {
            Ok(data) => {
                sum.update(&data);
                reading.bytes += data.len() as u64;
                progress(reading.bytes);
            }
            Err(frame) => {
                expected = frame.into_trailers().ok().and_then(|mut trailers| trailers.remove(CRC32))
            }
        }
    }
    reading.ended = true;
    let crc32 = sum.finalize();
    if let Some(expected) = &expected {
        ensure!(*expected == HeaderValue::from(crc32), "the body's CRC-32 is {crc32}, not {expected:?}");
    }
    Ok(ReceivedBody { bytes: reading.bytes, crc32, checked: expected.is_some() })
}

/// Logs when a body is not read to its end.
struct Reading {
    bytes: u64,
    ended: bool,
}

impl Drop for Reading {
    fn drop(&mut self) {
        if !self.ended {
            tracing::warn!(bytes = self.bytes, "a body was not read to its end");
        }
    }
}

async fn start(nats_url: Option<String>, size: u64) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signal()?;
    let nats = tokio::task::spawn_blocking(|| Nats::at_or_private(nats_url)).await??;
    let result = tokio::select! {
        result = transfer(&nats, size) => result,
        () = shutdown.begun() => Err(anyhow::anyhow!("interrupted")),
    };
    nats.stop()?;
    say!("{}", serde_json::to_string(&result?)?);
    Ok(())
}

/// The last line of the output.
#[derive(Serialize)]
struct Figures {
    size: u64,
    up_mib_s: f64,
    down_mib_s: f64,
    /// The peak memory of each process.
    rss_mib: BTreeMap<&'static str, f64>,
    /// The memory of each process before the bodies.
    idle_rss_mib: BTreeMap<&'static str, f64>,
}

async fn transfer(nats: &Nats, size: u64) -> anyhow::Result<Figures> {
    let consumer = Process::start(nats.url(), ["consumer"]).await?;
    let gateway = Process::start(nats.url(), ["gateway"]).await?;
    let processes = [
        ("client", Some(std::process::id())),
        ("gateway", gateway.id()),
        ("consumer", consumer.id()),
        ("nats-server", nats.pid()),
    ];
    let memory = |of: fn(u32) -> Option<f64>| {
        processes.iter().filter_map(|(name, pid)| Some((*name, of((*pid)?)?))).collect()
    };
    let idle_rss_mib = memory(memory::now_mib);
    let up_mib_s = upload(gateway.ready_text(), size).await.context("the upload failed")?;
    let down_mib_s = download(gateway.ready_text(), size).await.context("the download failed")?;
    let rss_mib = memory(memory::peak_mib);
    gateway.stop().await?;
    consumer.stop().await?;
    Ok(Figures { size, up_mib_s, down_mib_s, rss_mib, idle_rss_mib })
}

async fn upload(url: &str, size: u64) -> anyhow::Result<f64> {
    let mut progress = Progress::new("up", size);
    let mut sent = 0;
    let body = Content::new(size).map_frame(move |frame| {
        if let Some(data) = frame.data_ref() {
            sent += data.len() as u64;
            progress.show(sent);
        }
        frame
    });
    let began = Instant::now();
    let request = Request::post(format!("{url}/up")).header(header::TRAILER, CRC32_NAME).body(body)?;
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await?;
    let status = response.status();
    let content = response.into_body().collect().await?.to_bytes();
    ensure!(status == StatusCode::OK, "{status} {}", String::from_utf8_lossy(&content));
    let received: ReceivedBody = serde_json::from_slice(&content)?;
    ensure!(received.bytes == size && received.checked, "{size} bytes were sent, and received: {received:?}");
    Ok(mib_per_second(size, began))
}

async fn download(url: &str, size: u64) -> anyhow::Result<f64> {
    let mut progress = Progress::new("down", size);
    let began = Instant::now();
    // An HTTP/1.1 server sends trailers only to clients that ask for them.
    let request = Request::get(format!("{url}/down/{size}"))
        .header(header::TE, "trailers")
        .header(header::CONNECTION, "te")
        .body(Empty::<Bytes>::new())?;
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await?;
    ensure!(response.status() == StatusCode::OK, "the status is {}", response.status());
    ensure!(response.headers().get(header::TRAILER).is_some_and(|trailer| trailer == CRC32_NAME));
    let received = check(response.into_body(), |bytes| progress.show(bytes)).await?;
    ensure!(received.bytes == size && received.checked, "{size} bytes were sent, and received: {received:?}");
    Ok(mib_per_second(size, began))
}
