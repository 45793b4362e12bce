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
//! It serves without NATS, with 503, and is ready when it is connected and the stream of durable routes is declared.
//! Credentials that NATS refuses are an error. SIGHUP makes it read the file again and replace the routes, unless the file is
//! invalid or another key has changed. Ctrl-C and SIGTERM end it after the requests in flight; bodies that take more than 20 s
//! longer are aborted. It runs on one core, which is the most efficient way to use one; to use more, run several behind a load
//! balancer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use narun_examples::http::{HttpLimits, listen, serve_with};
use narun_examples::signal::Shutdown;
use narun_examples::{metrics, nats, say};
use narun_gateway::Gateway;
use narun_gateway::config::Config;
use tokio::signal::unix::{SignalKind, signal};

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
    let config = read(&args.config)?;
    let listener = listen(&config.server_addr().candidates(), "server_addr").await?;
    let metrics = listen(&config.metrics_addr().candidates(), "metrics_addr").await?;
    let shutdown = Shutdown::on_signal()?;
    let mut hangups = signal(SignalKind::hangup())?;
    let recorder = metrics::record()?;

    let access = config.nats_access().clone();
    let (nats, mut connection) = nats::connect_eventually(config.nats_url(), access, "gateway").await?;
    let gateway = Gateway::builder(nats)
        .namespace(config.namespace())
        .stream_settings(config.stream_settings().clone())
        .routes(config.routes().to_vec())
        .timeout(config.request_timeout())
        .caller(config.caller_field().clone())
        .forwarded(config.forwarded())
        .trusted_proxies(config.trusted_proxies().to_vec())
        .limits(config.limits())
        .build()
        .await?;
    say!("listening http://{}", listener.local_addr()?);
    let ready =
        format!("ready http://{}\nmetrics http://{}/metrics", listener.local_addr()?, metrics.local_addr()?);

    let limits = config.server_limits();
    let limits = HttpLimits {
        keep_alive: limits.keep_alive(),
        head: limits.head_timeout(),
        connections: limits.max_connections() as usize,
        streams: limits.max_streams(),
    };
    let metrics = tokio::spawn(metrics::serve(metrics, recorder, shutdown.begun()));
    let watch = async {
        connection.made().await?;
        let ready = async {
            gateway.ready().await;
            say!("{ready}");
        };
        let reloads = async {
            while hangups.recv().await.is_some() {
                reload(&args.config, &config, &gateway);
            }
        };
        tokio::join!(ready, reloads);
        std::future::pending().await
    };
    tokio::select! {
        () = serve_with(limits, listener, gateway.service(), shutdown.begun()) => {}
        () = gateway.closed() => bail!("the connection to NATS is dead"),
        failed = watch => return failed,
    }
    // Aborts the bodies that are still in flight, and notifies their consumers.
    gateway.shutdown(Duration::ZERO).await;
    metrics.await?;
    Ok(())
}

/// Replaces the routes by those of the file. An invalid file changes nothing.
fn reload(path: &Path, started: &Config, gateway: &Gateway) {
    let config = match read(path) {
        Ok(config) => config,
        Err(error) => return tracing::error!(error = format!("{error:#}"), "the routes stay as they were"),
    };
    if config.needs_restart(started) {
        return tracing::error!(
            "the routes stay as they were: other keys have changed, which needs a restart"
        );
    }
    match gateway.replace_routes(config.routes().to_vec()) {
        Ok(()) => tracing::info!(routes = config.routes().len(), "the routes are replaced"),
        Err(error) => tracing::error!(%error, "the routes stay as they were"),
    }
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let read = || {
        let text = std::fs::read_to_string(path)?;
        // Some editors begin a file with a byte order mark.
        anyhow::Ok(serde_yaml_ng::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text))?)
    };
    read().with_context(|| format!("cannot use {}", path.display()))
}
