//! The smallest consumer: an axum router handles the requests of the app `hello`.
//!
//! Start several, and they share the requests. Ctrl-C and SIGTERM end one once its handlers have responded.

use std::io::Write;

use axum::{Router, routing::post};
use narun_consumer::NatsAccess;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let url = std::env::var("NATS_URL").unwrap_or_else(|_| "127.0.0.1:4222".to_owned());
    let nats = NatsAccess::from_env()?.connect(&url).await?;
    let hello = post(|name: String| async move { format!("Hello, {name}!\n") });
    narun_consumer::serve(nats, "hello", Router::new().route("/hello/", hello))
        .on_ready(|| drop(writeln!(std::io::stdout(), "ready")))
        .with_graceful_shutdown(async move {
            tokio::select!(_ = interrupt.recv() => {}, _ = terminate.recv() => {})
        })
        .await?;
    Ok(())
}
