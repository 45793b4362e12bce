//! The smallest consumer: an axum router handles the requests of the app `hello`.
//!
//! Start several, and they share the requests. Ctrl-C ends one once its handlers have responded.

use axum::{Router, routing::post};
use narun_consumer::async_nats;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("NATS_URL").unwrap_or_else(|_| "127.0.0.1:4222".to_owned());
    let nats = async_nats::connect(url).await?;
    let hello = post(|name: String| async move { format!("Hello, {name}!\n") });
    narun_consumer::serve(nats, "hello", Router::new().route("/hello/", hello))
        .on_ready(|| println!("ready"))
        .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
        .await?;
    Ok(())
}
