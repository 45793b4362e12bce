//! Server-sent events over NATS: ticks arrive when they are made, and stop when the client leaves.
//!
//! ```text
//! cargo run --example sse            # then open http://127.0.0.1:8080 in a browser, or
//! curl -N http://127.0.0.1:8080/ticks
//! ```
//!
//! Gateway and consumer are in one process, with a private nats-server (or that of `--nats-url` or the environment
//! variable `NATS_URL`). It logs when a client comes, and when a handler is dropped because its client has left. Ctrl-C
//! and SIGTERM end the program, with all responses.

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::State;
use axum::response::Html;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use clap::Parser;
use futures::Stream;
use narun_examples::http as server;
use narun_examples::nats::{self, Nats};
use narun_examples::say;
use narun_examples::signal::Shutdown;
use narun_gateway::{Gateway, Route};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Shows each tick with its age on arrival, as far as the clocks of both sides agree.
const PAGE: &str = r#"<!doctype html>
<title>Ticks over NATS</title>
<h1>Ticks over NATS</h1>
<pre id="ticks"></pre>
<script>
    new EventSource("/ticks").onmessage = ({ lastEventId, data }) => {
        const age = Date.now() - Number(data);
        ticks.textContent = `tick ${lastEventId}, ${age} ms old\n` + ticks.textContent;
    };
</script>
"#;

/// Serves ticks over NATS, as server-sent events.
#[derive(Parser)]
struct Args {
    /// Where HTTP is served; port 0 for any free port.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A nats-server to use instead of a private one.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
    /// Milliseconds from one tick to the next.
    #[arg(long, default_value_t = 1000)]
    every_ms: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log();
    narun_examples::exit(start(Args::parse()).await)
}

async fn start(args: Args) -> anyhow::Result<()> {
    let listener = server::listen(&[args.listen.to_string()], "--listen").await?;
    let nats = Nats::at_or_private(args.nats_url)?;
    let result = run(listener, nats.url(), Duration::from_millis(args.every_ms)).await;
    nats.stop()?;
    result
}

async fn run(listener: TcpListener, nats_url: &str, every: Duration) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signal()?;
    let router =
        Router::new().route("/", get(async || Html(PAGE))).route("/ticks", get(ticks)).with_state(every);
    let (ready, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let consumer = narun_consumer::serve(nats::connect(nats_url, "consumer").await?, "ticks", router)
        .on_ready(|| ready.send(()).unwrap_or_default())
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let mut consumer = tokio::spawn(consumer.into_future());

    let gateway = Gateway::builder(nats::connect(nats_url, "gateway").await?)
        .route(Route::get("/", "ticks").prefix())
        .build()
        .await?;
    let address = listener.local_addr()?;
    let serve = async {
        is_ready.await.context("the consumer did not start")?;
        say!("ready http://{address}");
        // A server that shuts down waits for its responses, and these have no end.
        let abort = async {
            shutdown.begun().await;
            gateway.shutdown(Duration::ZERO).await;
        };
        tokio::join!(server::serve(listener, gateway.service(), shutdown.begun()), abort);
        anyhow::Ok(())
    };
    tokio::select! {
        result = serve => result?,
        result = &mut consumer => return result?.context("the consumer ended"),
        () = gateway.closed() => bail!("the gateway's connection to NATS is dead"),
    }
    drop(stop);
    consumer.await?.context("the consumer ended")
}

/// Sends one event after each pause, without an end.
async fn ticks(State(every): State<Duration>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let client = Client::new();
    Sse::new(futures::stream::unfold((client, 0_u64), move |(client, last)| async move {
        tokio::time::sleep(every).await;
        let tick = last + 1;
        // In milliseconds, as JavaScript has it.
        let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Some((Ok(Event::default().id(tick.to_string()).data(made.to_string())), (client, tick)))
    }))
}

/// Logs when it is made, and when it is dropped.
struct Client;

impl Client {
    fn new() -> Self {
        tracing::info!("a client has come");
        Self
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        tracing::info!("a handler was dropped: its client has left");
    }
}
