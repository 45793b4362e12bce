//! The oldest server that is supported.

use http::StatusCode;
use narun_core::frame::Refusal;
use narun_support::{Binary, Server};

use crate::consumer::Consumer;
use crate::harness::{builder, get, new_app, post, send, spawn};

#[tokio::test]
async fn the_main_rows_hold_on_2_10() {
    let binary = Binary::version("2.10.26").expect("a nats-server");
    let server = Server::builder().binary(binary).start().expect("a nats-server");
    let app = new_app();
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let gateway = builder(client, &app).build().await.expect("a gateway");
    assert_eq!(send(&gateway, post("/")).await.status, StatusCode::SERVICE_UNAVAILABLE);

    let client = async_nats::connect(server.url()).await.expect("a connection");
    let mut consumer = Consumer::start(client, &app).await;
    let response = spawn(&gateway, post("/"));
    consumer.request().await.refuse(Refusal::Overloaded).await;
    consumer.request().await.ok("hello").await;
    assert_eq!(response.await.expect("no panic").body, "hello");

    // The first attempt gets no frame, the second a response.
    let response = spawn(&gateway, get("/"));
    consumer.request().await;
    consumer.request().await.ok("again").await;
    assert_eq!(response.await.expect("no panic").body, "again");

    // Gone while at work: the server says so to a PROBE.
    let response = spawn(&gateway, post("/"));
    consumer.request().await.working().await;
    consumer.leave().await;
    assert_eq!(response.await.expect("no panic").status, StatusCode::BAD_GATEWAY);
}
