use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Config;
use http::StatusCode;
use narun_support::Server;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::program::{Program, ask, get, post};

/// A directory with a configuration for this nats-server, with free ports, and the configuration's path.
pub(crate) fn config(nats_url: &str, more: &str) -> (TempDir, String) {
    let text = include_str!("../../gateway.yaml")
        .replace("nats://127.0.0.1:4222", nats_url)
        .replace("\":8080\"", "\"127.0.0.1:0\"")
        .replace("127.0.0.1:9090", "127.0.0.1:0");
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("gateway.yaml");
    fs::write(&path, text + more).expect("a file");
    let path = path.to_str().expect("text").to_owned();
    (directory, path)
}

/// Starts the hello app, with metrics.
pub(crate) async fn hello(nats_url: &str) -> (Program, SocketAddr) {
    let arguments =
        ["--nats-url", nats_url, "--stream", "TASK", "--app", "hello", "--metrics", "127.0.0.1:0"];
    let mut hello = Program::start("hello", arguments);
    let metrics = hello.address("metrics").await;
    hello.line("ready ").await;
    (hello, metrics)
}

/// How many requests a consumer has handled with a 2xx.
async fn handled(metrics: SocketAddr) -> u64 {
    let (_, metrics) = get(metrics, "/metrics").await;
    let metric = r#"http_consumer_requests_total{app="hello",status_class="2xx"} "#;
    let value = metrics.lines().find_map(|line| line.strip_prefix(metric));
    value.expect("it is counted").parse().expect("a number")
}

#[tokio::test]
async fn consumers_share_the_requests() {
    let nats = Server::start().expect("a nats-server");
    let (_directory, config) = config(nats.url(), "");
    let mut gateway = Program::start("gateway", ["--config", &config]);
    let server = gateway.address("ready").await;
    let metrics = gateway.address("metrics").await;

    let (one, one_metrics) = hello(nats.url()).await;
    let (two, two_metrics) = hello(nats.url()).await;
    // By chance, one of two gets no request of 64 once in 2^63 runs.
    for _ in 0..64 {
        ask(server).await;
    }
    let (by_one, by_two) = (handled(one_metrics).await, handled(two_metrics).await);
    assert!(by_one > 0 && by_two > 0 && by_one + by_two == 64, "{by_one} and {by_two}");

    assert!(one.end(Signal::TERM).await.success());
    ask(server).await;
    let bad = post(server, "{").await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
    assert!(bad.body().starts_with(b"bad JSON: "), "{bad:?}");

    assert!(two.end(Signal::INT).await.success());
    assert_eq!(post(server, "{}").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let (_, metrics) = get(metrics, "/metrics").await;
    for metric in [
        r#"http_gateway_requests_total{method="POST",path="/hello/",status_code="400"} 1"#,
        r#"http_gateway_requests_total{method="POST",path="/hello/",status_code="503"} 1"#,
        r#"http_gateway_nats_requests_total{subject="call.TASK.hello",status="no_responders"} 1"#,
    ] {
        assert!(metrics.contains(metric), "{metric} is not in\n{metrics}");
    }
    assert!(gateway.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn a_gateway_serves_when_nats_is_up() {
    let mut nats = Server::start().expect("a nats-server");
    nats.kill().expect("it is killed");
    let (_directory, config) = config(nats.url(), "");
    let mut gateway = Program::start("gateway", ["--config", &config]);
    let server = gateway.address("ready").await;
    assert_eq!(post(server, "{}").await.status(), StatusCode::SERVICE_UNAVAILABLE);

    nats.restart().expect("it starts again");
    let (hello, _) = hello(nats.url()).await;
    // The gateway's client tries to connect every few seconds.
    let until = Instant::now() + Duration::from_secs(30);
    while post(server, "{}").await.status() == StatusCode::SERVICE_UNAVAILABLE && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ask(server).await;
    assert!(hello.end(Signal::TERM).await.success());
    assert!(gateway.end(Signal::INT).await.success());
}

#[tokio::test]
async fn a_gateway_reports_a_stream_of_another_retention() {
    let nats = Server::builder().jetstream(true).start().expect("a nats-server");
    let client = async_nats::connect(nats.url()).await.expect("a connection");
    let stream = Config { name: "TASK".into(), subjects: vec!["task.TASK.>".into()], ..Config::default() };
    async_nats::jetstream::new(client).create_stream(stream).await.expect("a stream");
    let (_directory, config) = config(nats.url(), "nats_stream: TASK\n");
    let mut gateway = Program::start("gateway", ["--config", &config]);
    let server = gateway.address("ready").await;
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let response = post(server, "{}").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let text = String::from_utf8_lossy(response.body()).into_owned();
        if text.contains("stream TASK") && text.contains("retention") {
            break;
        }
        // It is ready before it is connected.
        assert!(Instant::now() < until, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gateway.end(Signal::TERM).await.success());
}
