use std::net::SocketAddr;

use http::StatusCode;
use narun_support::Server;
use rustix::process::Signal;

use crate::gateway::{config, hello};
use crate::program::{Program, UNKNOWN_STATUS, ask, fetch, get, post, post_for_later, post_with, run};

/// The key that makes the configuration's routes durable.
const DURABLE: &str = "nats_stream: \"TASK\"\n";
const RESPONSE: &str = r#"{"message":"Hello, NATS User!","received_path":"/hello/"}"#;

/// Starts a gateway.
async fn gateway(nats: &Server, more: &str) -> (Program, SocketAddr) {
    // The file may be deleted when the gateway is ready.
    let (_directory, config) = config(nats.url(), more);
    let mut gateway = Program::start("gateway", ["--config", &config]);
    let server = gateway.address("ready").await;
    (gateway, server)
}

#[tokio::test]
async fn a_durable_request_gets_its_response_at_once_or_later_or_once_per_key() {
    let nats = Server::builder().jetstream(true).start().expect("a nats-server");
    let (gateway, server) = gateway(&nats, DURABLE).await;
    assert_eq!(get(server, UNKNOWN_STATUS).await.0, StatusCode::NOT_FOUND);

    // There is no consumer yet.
    let location = post_for_later(server, "/hello/").await;
    let (one, _) = hello(nats.url()).await;
    let (two, _) = hello(nats.url()).await;
    assert_eq!(fetch(server, &location).await, (StatusCode::OK, RESPONSE.to_owned()));
    ask(server).await;

    let fields = [("idempotency-key", "0b6e2b4e")];
    let first = post_with(server, "/hello/", &fields).await;
    assert_eq!((first.status(), &first.body()[..]), (StatusCode::OK, RESPONSE.as_bytes()));
    assert!(one.end(Signal::TERM).await.success());
    assert!(two.end(Signal::INT).await.success());
    // Without a consumer, the gateway responds with the stored response.
    let second = post_with(server, "/hello/", &fields).await;
    assert_eq!((second.status(), second.body()), (first.status(), first.body()));
    let other = post_with(server, "/hello/other", &fields).await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(gateway.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn hello_serves_when_the_server_is_up_with_or_without_jetstream() {
    for (jetstream, more) in [(false, ""), (true, DURABLE)] {
        let mut nats = Server::builder().jetstream(jetstream).start().expect("a nats-server");
        nats.kill().expect("it is killed");
        let mut hello = Program::start("hello", ["--nats-url", nats.url(), "--metrics", "127.0.0.1:0"]);
        hello.address("metrics").await;
        nats.restart().expect("it starts again");
        hello.line("ready hello in TASK").await;
        let (gateway, server) = gateway(&nats, more).await;
        assert_eq!(post(server, "{").await.status(), StatusCode::BAD_REQUEST);
        ask(server).await;
        assert!(gateway.end(Signal::TERM).await.success());
        assert!(hello.end(Signal::TERM).await.success());
    }
}

#[tokio::test]
async fn durable_jobs_succeeds() {
    let (code, text, error) = run("durable_jobs", [""; 0]).await;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.ends_with("  Every step succeeded.\n"), "{text}");
}
