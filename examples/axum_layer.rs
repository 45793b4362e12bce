//! An axum app with routes of its own gains narun by one line: `.layer(gateway.layer())`.
//!
//! ```text
//! cargo run --example axum_layer
//! curl http://127.0.0.1:8080/local                              # the app's own route
//! curl -d '{"name": "NATS User"}' http://127.0.0.1:8080/hello/  # over NATS
//! curl http://127.0.0.1:8080/nowhere                            # the app's own 404
//! ```
//!
//! It runs a private nats-server, unless `--nats-url` or the environment variable `NATS_URL` names one; the hello app, a
//! consumer, runs in the same process. Ctrl-C ends the program.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use clap::Parser;
use http::{StatusCode, Uri};
use narun_examples::hello;
use narun_examples::http::listen;
use narun_examples::nats::{self, Nats};
use narun_examples::say;
use narun_examples::signal::Shutdown;
use narun_gateway::{Gateway, Route};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Runs an axum app with routes of its own and one that goes over NATS.
#[derive(Parser)]
struct Args {
    /// Where HTTP is served; port 0 for any free port.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A nats-server to use instead of a private one.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log();
    narun_examples::exit(start(Args::parse()).await)
}

async fn start(args: Args) -> anyhow::Result<()> {
    let listener = listen(&[args.listen.to_string()], "--listen").await?;
    let nats = Nats::at_or_private(args.nats_url)?;
    let result = run(listener, nats.url()).await;
    nats.stop()?;
    result
}

async fn run(listener: TcpListener, nats_url: &str) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signal()?;
    let gateway = Gateway::builder(nats::connect(nats_url, "axum_layer").await?)
        .route(Route::post(hello::PATH, "hello").prefix())
        .build()
        .await?;

    // The layer is added after the fallback, so that it also covers paths that the app does not know.
    let app = Router::new()
        .route("/local", get(|| async { "from the app itself\n" }))
        .fallback(
            |uri: Uri| async move { (StatusCode::NOT_FOUND, format!("the app has no {}\n", uri.path())) },
        )
        .layer(gateway.layer());

    let (ready, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let consumer = narun_consumer::serve(nats::connect(nats_url, "hello").await?, "hello", hello::router())
        .on_ready(|| ready.send(()).unwrap_or_default())
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let mut consumer = tokio::spawn(consumer.into_future());

    let address = listener.local_addr()?;
    let http = async {
        tokio::select! {
            is_ready = is_ready => is_ready.context("the consumer did not start")?,
            () = shutdown.begun() => return Ok(()),
        }
        say!("ready http://{address}");
        // With the address of the client, which narun-gateway's feature `axum` reads.
        axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(shutdown.begun())
            .await?;
        anyhow::Ok(())
    };
    tokio::select! {
        result = http => result?,
        result = &mut consumer => return result?.context("the consumer ended"),
        () = gateway.closed() => anyhow::bail!("the gateway's connection to NATS is dead"),
    }
    drop(stop);
    consumer.await?.context("the consumer ended")
}
