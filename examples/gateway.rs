//! The gateway as a program: HTTP/1.1 and HTTP/2 on hyper, routes and addresses from a configuration file.
//!
//! ```text
//! nats-server &
//! cargo run --example hello &
//! cargo run --example gateway -- --config examples/gateway.yaml
//! curl -d '{"name": "NATS User"}' http://127.0.0.1:8080/hello/
//! curl http://127.0.0.1:9090/metrics
//! ```
//!
//! It starts without NATS, and responds with 503 until it is connected. Ctrl-C and SIGTERM end it after the requests in
//! flight; bodies that take more than 20 s longer are aborted. It runs on one core, which is the most efficient way to
//! use one; to use more, run several behind a load balancer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use narun_examples::http::{HttpLimits, listen, serve_with};
use narun_examples::signal::Shutdown;
use narun_examples::{metrics, nats};
use narun_gateway::Gateway;
use narun_gateway::config::Config;

/// Sends HTTP requests over NATS, with the routes of a configuration file.
#[derive(Parser)]
struct Args {
    /// The configuration, in YAML.
    #[arg(long)]
    config: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log();
    narun_examples::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let config = read(&args.config).with_context(|| format!("cannot use {}", args.config.display()))?;
    let listener = listen(&config.server_addr().candidates(), "server_addr").await?;
    let metrics = listen(&config.metrics_addr().candidates(), "metrics_addr").await?;
    let shutdown = Shutdown::on_signal()?;
    let recorder = metrics::record()?;

    let client = nats::connect_eventually(config.nats_url(), "gateway").await?;
    let gateway = Gateway::builder(client)
        .namespace(config.namespace())
        .stream_settings(config.stream_settings().clone())
        .routes(config.routes().to_vec())
        .timeout(config.request_timeout())
        .caller(config.caller_field().clone())
        .forwarded(config.forwarded())
        .trusted_proxies(config.trusted_proxies().to_vec())
        .build()
        .await?;
    println!("ready http://{}", listener.local_addr()?);
    println!("metrics http://{}/metrics", metrics.local_addr()?);

    let limits = config.server_limits();
    let limits = HttpLimits {
        keep_alive: limits.keep_alive(),
        head: limits.head_timeout(),
        connections: limits.max_connections() as usize,
        streams: limits.max_streams(),
    };
    let metrics = tokio::spawn(metrics::serve(metrics, recorder, shutdown.begun()));
    tokio::select! {
        () = serve_with(limits, listener, gateway.service(), shutdown.begun()) => {}
        () = gateway.closed() => bail!("the connection to NATS is dead"),
    }
    // Aborts the bodies that are still in flight, and notifies their consumers.
    gateway.shutdown(Duration::ZERO).await;
    metrics.await?;
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Config> {
    Ok(serde_yaml_ng::from_str(&std::fs::read_to_string(path)?)?)
}
