//! The smallest gateway: requests below `/hello/` go over NATS to the app `hello`, the axum app answers the others.
//!
//! Run `smallest_consumer` beside it, then `curl -d World http://127.0.0.1:8080/hello/`.

use axum::{Router, routing::get};
use narun_gateway::{Gateway, Route, async_nats};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variable = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let nats = async_nats::connect(variable("NATS_URL", "127.0.0.1:4222")).await?;
    let gateway = Gateway::builder(nats).route(Route::any("/hello/", "hello").prefix()).build().await?;
    let app = Router::new().route("/local", get(|| async { "here" })).layer(gateway.layer());

    let listener = tokio::net::TcpListener::bind(variable("LISTEN", "127.0.0.1:8080")).await?;
    println!("ready http://{}", listener.local_addr()?);
    let shutdown = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(shutdown).await?;
    Ok(())
}
