//! The hello app as a consumer: an ordinary axum router, served over NATS. Run several, and they share the requests.
//!
//! ```text
//! cargo run --example hello -- --nats-url nats://127.0.0.1:4222 --stream TASK --app hello
//! cargo run --example gateway -- --config examples/gateway.yaml
//! curl -d '{"name": "NATS User"}' http://127.0.0.1:8080/hello/
//! ```
//!
//! Credentials for NATS come from the URL, `nats://user:password@host`, or from the environment: `NATS_USERNAME` with
//! `NATS_PASSWORD`, `NATS_TOKEN`, `NATS_CREDS`, `NATS_NKEY`, and `NATS_TLS_CA`, `NATS_TLS_CERT` and `NATS_TLS_KEY` for TLS.
//! That holds for all examples; the gateway has keys in its file instead. It is ready when NATS can be reached.
//!
//! It serves direct requests, and durable ones if the server has JetStream (`nats-server -js`): the gateway's
//! configuration sets which of them a route makes. What that file has below `stream` has a flag of the same name here, such as
//! `--max-bytes 1000000`.
//!
//! With `--delay-ms 20000` requests time out at the gateway. The handler is dropped then, or when curl is interrupted,
//! and that is logged. Ctrl-C and SIGTERM end the program after the requests that it has begun.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use narun_consumer::NatsAccess;
use narun_examples::hello::delayed;
use narun_examples::signal::Shutdown;
use narun_examples::stream::StreamArgs;
use narun_examples::{http, metrics, nats, say};

/// Serves POST /hello/ over NATS.
#[derive(Parser)]
struct Args {
    /// The nats-server.
    #[arg(long, env = "NATS_URL", hide_env_values = true, default_value = "nats://127.0.0.1:4222")]
    nats_url: String,
    /// The stream of durable requests, whose name is also the namespace of direct ones; the same as the gateway's.
    #[arg(long, default_value = "TASK")]
    stream: String,
    /// The app that the gateway's routes name.
    #[arg(long, default_value = "hello")]
    app: String,
    /// How many requests are handled at once.
    #[arg(long, default_value_t = 256)]
    concurrency: usize,
    /// Delay of each response, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    #[command(flatten)]
    stream_settings: StreamArgs,
    /// Where /metrics is served, for Prometheus; not served by default.
    #[arg(long)]
    metrics: Option<SocketAddr>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log();
    narun_examples::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signal()?;
    if let Some(address) = args.metrics {
        let listener = http::listen(&[address.to_string()], "--metrics").await?;
        say!("metrics http://{}/metrics", listener.local_addr()?);
        tokio::spawn(metrics::serve(listener, metrics::record()?, shutdown.begun()));
    }
    let access = NatsAccess::from_env()?;
    let (nats, mut connection) = nats::connect_eventually(&args.nats_url, access, &args.app).await?;
    tokio::select! {
        made = connection.made() => made?,
        () = shutdown.begun() => return Ok(()),
    }
    let ready = format!("ready {} in {}", args.app, args.stream);
    let jetstream = nats.client().server_info().jetstream || args.stream_settings.has_domain();
    let consumer = narun_consumer::serve(nats, args.app, delayed(Duration::from_millis(args.delay_ms)));
    let consumer = if jetstream {
        consumer.stream(args.stream).stream_settings(args.stream_settings.into())
    } else {
        tracing::warn!("the server has no JetStream: durable requests are not served");
        consumer.namespace(args.stream)
    };
    consumer
        .concurrency(args.concurrency)
        .instance(format!("hello-{}", std::process::id()))
        .on_ready(move || say!("{ready}"))
        .with_graceful_shutdown(shutdown.begun())
        .await
        .context("the consumer ended")
}
