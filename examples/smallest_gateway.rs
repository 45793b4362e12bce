//! The smallest gateway: requests below `/hello/` go over NATS to the app `hello`, the axum app answers the others.
//!
//! Run `smallest_consumer` beside it, then `curl -d World http://127.0.0.1:8080/hello/`. Ctrl-C and SIGTERM end it.

use std::io::Write;

use axum::{Router, routing::get};
use narun_gateway::{Gateway, NatsAccess, Route};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let nats = NatsAccess::from_env()?.connect(&variable("NATS_URL", "127.0.0.1:4222")).await?;
    let gateway = Gateway::builder(nats).route(Route::any("/hello/", "hello").prefix()).build().await?;
    let app = Router::new().route("/local", get(|| async { "here" })).layer(gateway.layer());

    let listener = tokio::net::TcpListener::bind(variable("LISTEN", "127.0.0.1:8080")).await?;
    let _ = writeln!(std::io::stdout(), "ready http://{}", listener.local_addr()?);
    let shutdown = async move { tokio::select!(_ = interrupt.recv() => {}, _ = terminate.recv() => {}) };
    let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await?;
    Ok(())
}
