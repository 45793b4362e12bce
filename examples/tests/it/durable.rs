use std::net::SocketAddr;

use http::StatusCode;
use narun_support::Server;
use rustix::process::Signal;

use crate::gateway::{config, hello};
use crate::program::{NOBODYS, Program, ask, fetch, get, post, post_for_later, post_with, run, serving};

/// What makes the configuration's routes durable.
const DURABLE: &str = "nats_stream: \"TASK\"\n";
const ANSWER: &str = r#"{"message":"Hello, NATS User!","received_path":"/hello/"}"#;

/// Starts a gateway.
async fn gateway(nats: &Server, more: &str) -> (Program, SocketAddr) {
    // It is read before the gateway is ready.
    let (_directory, config) = config(nats.url(), more);
    let mut gateway = Program::start("gateway", ["--config", &config]);
    let server = gateway.address("ready").await;
    (gateway, server)
}

#[tokio::test]
async fn requests_are_answered_at_once_or_later_or_once_for_a_key() {
    let nats = Server::builder().jetstream(true).start().expect("a nats-server");
    let (gateway, server) = gateway(&nats, DURABLE).await;
    serving(async || get(server, NOBODYS).await.0).await;

    // Before anybody is there to do it.
    let location = post_for_later(server, "/hello/").await;
    let (one, _) = hello(nats.url()).await;
    let (two, _) = hello(nats.url()).await;
    assert_eq!(fetch(server, &location).await, (StatusCode::OK, ANSWER.to_owned()));
    ask(server).await;

    let fields = [("idempotency-key", "0b6e2b4e")];
    let first = post_with(server, "/hello/", &fields).await;
    assert_eq!((first.status(), &first.body()[..]), (StatusCode::OK, ANSWER.as_bytes()));
    assert!(one.end(Signal::TERM).await.success());
    assert!(two.end(Signal::INT).await.success());
    // Nobody is there who could answer but the gateway itself.
    let second = post_with(server, "/hello/", &fields).await;
    assert_eq!((second.status(), second.body()), (first.status(), first.body()));
    let other = post_with(server, "/hello/other", &fields).await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(gateway.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn hello_serves_what_the_server_can_once_that_is_there() {
    for (jetstream, more) in [(false, ""), (true, DURABLE)] {
        let mut nats = Server::builder().jetstream(jetstream).start().expect("a nats-server");
        nats.kill().expect("it is killed");
        let mut hello = Program::start("hello", ["--nats-url", nats.url(), "--metrics", "127.0.0.1:0"]);
        hello.address("metrics").await;
        nats.restart().expect("it starts again");
        hello.line("ready hello in TASK").await;
        let (gateway, server) = gateway(&nats, more).await;
        serving(async || post(server, "{").await.status()).await;
        ask(server).await;
        assert!(gateway.end(Signal::TERM).await.success());
        assert!(hello.end(Signal::TERM).await.success());
    }
}

#[tokio::test]
async fn durable_jobs_ends_as_it_should() {
    let (code, text, error) = run("durable_jobs", [""; 0]).await;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.ends_with("  All went as it should.\n"), "{text}");
}
