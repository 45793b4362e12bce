use http::{Method, StatusCode};
use narun_examples::client;
use narun_support::Server;
use rustix::process::Signal;

use crate::program::{Program, ask, eventually, get};

#[tokio::test]
async fn a_request_crosses_nats_and_others_stay() {
    let nats = Server::start().expect("a nats-server");
    let variables = [("NATS_URL", nats.url()), ("LISTEN", "127.0.0.1:0")];
    for signal in [Signal::INT, Signal::TERM] {
        let mut consumer = Program::start_with("smallest_consumer", [""; 0], &variables);
        consumer.line("ready").await;
        let mut gateway = Program::start_with("smallest_gateway", [""; 0], &variables);
        let server = gateway.address("ready").await;

        let response =
            client::send(server, Method::POST, "/hello/", "World").await.expect("there is a response");
        assert_eq!((response.status(), &response.body()[..]), (StatusCode::OK, &b"Hello, World!\n"[..]));
        assert_eq!(get(server, "/local").await, (StatusCode::OK, "here".to_owned()));

        assert!(gateway.end(signal).await.success());
        assert!(consumer.end(signal).await.success());
    }
}

#[tokio::test]
async fn a_request_in_flight_gets_its_response_when_the_gateway_is_terminated() {
    let nats = Server::start().expect("a nats-server");
    let arguments = ["--nats-url", nats.url(), "--delay-ms", "1000", "--metrics", "127.0.0.1:0"];
    let mut hello = Program::start("hello", arguments);
    let metrics = hello.address("metrics").await;
    hello.line("ready").await;
    let variables = [("NATS_URL", nats.url()), ("LISTEN", "127.0.0.1:0")];
    let mut gateway = Program::start_with("smallest_gateway", [""; 0], &variables);
    let server = gateway.address("ready").await;

    let asking = tokio::spawn(ask(server));
    let in_flight = r#"http_consumer_requests_in_flight{app="hello"} 1"#;
    eventually("a request in flight", async || get(metrics, "/metrics").await.1.contains(in_flight)).await;
    assert!(gateway.end(Signal::TERM).await.success());
    asking.await.expect("there was a response");
    assert!(hello.end(Signal::TERM).await.success());
}

#[test]
fn they_are_small_and_stand_in_the_readme() {
    let readme = include_str!("../../../README.md");
    for text in [include_str!("../../smallest_gateway.rs"), include_str!("../../smallest_consumer.rs")] {
        assert!(text.lines().count() <= 25, "{text}");
        assert!(!text.contains("narun_examples") && !text.contains("narun_support"), "{text}");
        let code = text.lines().skip_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
        assert!(readme.contains(code.trim()), "README.md has another version of\n{text}");
    }
}
