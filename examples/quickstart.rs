//! narun in one process: a private nats-server, the gateway, and the hello app as its consumer.
//!
//! ```text
//! cargo run --example quickstart                 # on 127.0.0.1:8080, metrics on 127.0.0.1:9090
//! cargo run --example quickstart -- --once       # stop after one request
//! curl -d '{"name": "NATS User"}' http://127.0.0.1:8080/hello/
//! ```
//!
//! `--nats-url` or the environment variable `NATS_URL` selects another nats-server. Ctrl-C ends the program.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use http::{Method, StatusCode};
use narun_examples::hello::{self, HelloRequest, HelloResponse};
use narun_examples::nats::{self, Nats};
use narun_examples::signal::Shutdown;
use narun_examples::{client, http as server, metrics, say};
use narun_gateway::{Gateway, Route};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Runs a private nats-server, the gateway and the hello app, and sends them a request.
#[derive(Parser)]
struct Args {
    /// Where HTTP is served; port 0 for any free port.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where /metrics is served, for Prometheus; port 0 for any free port.
    #[arg(long, default_value = "127.0.0.1:9090")]
    metrics: SocketAddr,
    /// A nats-server to use instead of a private one.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
    /// Stop after the request.
    #[arg(long)]
    once: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log();
    narun_examples::exit(start(Args::parse()).await)
}

async fn start(args: Args) -> anyhow::Result<()> {
    let listener = server::listen(&[args.listen.to_string()], "--listen").await?;
    let metrics = server::listen(&[args.metrics.to_string()], "--metrics").await?;
    let nats = Nats::at_or_private(args.nats_url)?;
    let result = run(listener, metrics, nats.url(), args.once).await;
    nats.stop()?;
    result
}

async fn run(listener: TcpListener, metrics: TcpListener, nats_url: &str, once: bool) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signal()?;
    let recorder = metrics::record()?;
    let address = listener.local_addr()?;
    let metrics_address = metrics.local_addr()?;

    // The app: any tower service of HTTP requests. Gateway and consumer have connections of their own, as in separate
    // processes.
    let (ready, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let consumer = narun_consumer::serve(nats::connect(nats_url, "hello").await?, "hello", hello::router())
        .on_ready(|| ready.send(()).unwrap_or_default())
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let mut consumer = tokio::spawn(consumer.into_future());

    // The gateway: requests that match a route go to the app, over NATS.
    let gateway = Gateway::builder(nats::connect(nats_url, "gateway").await?)
        .route(Route::post(hello::PATH, "hello").prefix())
        .build()
        .await?;
    let http = tokio::spawn(server::serve(listener, gateway.service(), shutdown.begun()));
    let metrics = tokio::spawn(metrics::serve(metrics, recorder, shutdown.begun()));

    let request = async {
        is_ready.await.context("the consumer did not start")?;
        say!("ready http://{address}");
        say!("metrics http://{metrics_address}/metrics");
        ask(address).await?;
        if once {
            shutdown.begin();
        } else {
            say!("serving until Ctrl-C");
        }
        shutdown.begun().await;
        anyhow::Ok(())
    };
    tokio::select! {
        result = request => result?,
        () = shutdown.begun() => {}
        result = &mut consumer => return result?.context("the consumer ended"),
        () = gateway.closed() => anyhow::bail!("the gateway's connection to NATS is dead"),
    }
    // The consumer ends last: requests in flight need it.
    http.await?;
    metrics.await?;
    drop(stop);
    consumer.await?.context("the consumer ended")
}

/// Sends the request of the documentation, and prints and checks the response.
async fn ask(server: SocketAddr) -> anyhow::Result<()> {
    let request = HelloRequest::example();
    let json = serde_json::to_string(&request)?;
    say!("POST {} {json}", hello::PATH);
    let response = client::send(server, Method::POST, hello::PATH, json).await?;
    let body = String::from_utf8_lossy(response.body());
    say!("{} {}", response.status(), body.trim_end());
    ensure!(response.status() == StatusCode::OK, "the status should have been 200 OK");
    let response: HelloResponse =
        serde_json::from_str(&body).context("the response should have been JSON")?;
    let expected = HelloResponse::new(&request, hello::PATH);
    ensure!(response == expected, "the response should have been {}", serde_json::to_string(&expected)?);
    Ok(())
}
