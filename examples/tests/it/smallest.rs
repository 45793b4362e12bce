use http::{Method, StatusCode};
use narun_examples::client;
use narun_support::Server;
use rustix::process::Signal;

use crate::program::{Program, get, serving};

#[tokio::test]
async fn a_request_crosses_nats_and_others_stay() {
    let nats = Server::start().expect("a nats-server");
    let variables = [("NATS_URL", nats.url()), ("LISTEN", "127.0.0.1:0")];
    let mut consumer = Program::start_with("smallest_consumer", [""; 0], &variables);
    consumer.line("ready").await;
    let mut gateway = Program::start_with("smallest_gateway", [""; 0], &variables);
    let server = gateway.address("ready").await;

    let hello =
        async || client::send(server, Method::POST, "/hello/", "World").await.expect("there is a response");
    serving(async || hello().await.status()).await;
    let response = hello().await;
    assert_eq!((response.status(), &response.body()[..]), (StatusCode::OK, &b"Hello, World!\n"[..]));
    assert_eq!(get(server, "/local").await, (StatusCode::OK, "here".to_owned()));

    assert!(gateway.end(Signal::INT).await.success());
    assert!(consumer.end(Signal::INT).await.success());
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
