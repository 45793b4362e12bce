use std::fs;
use std::net::{SocketAddr, TcpListener};

use async_nats::jetstream::stream::Config;
use http::{Method, Request, StatusCode};
use narun_examples::client;
use narun_support::Server;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::program::{Program, ask, eventually, get, post, run};

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
async fn a_gateway_is_ready_when_nats_is_up() {
    let mut nats = Server::start().expect("a nats-server");
    nats.kill().expect("it is killed");
    let (_directory, config) = config(nats.url(), "");
    let mut gateway = Program::start("gateway", ["--config", &config]);
    let server = gateway.address("listening").await;
    assert_eq!(post(server, "{}").await.status(), StatusCode::SERVICE_UNAVAILABLE);

    nats.restart().expect("it starts again");
    let (hello, _) = hello(nats.url()).await;
    assert_eq!(gateway.address("ready").await, server);
    ask(server).await;
    assert!(hello.end(Signal::TERM).await.success());
    assert!(gateway.end(Signal::INT).await.success());
}

#[tokio::test]
async fn a_gateway_with_a_durable_route_is_ready_when_its_stream_is_declared() {
    let mut nats = Server::builder().jetstream(true).start().expect("a nats-server");
    nats.kill().expect("it is killed");
    let (_directory, config) = config(nats.url(), "nats_stream: TASK\n");
    let mut gateway = Program::start("gateway", ["--config", &config]);
    gateway.address("listening").await;
    nats.restart().expect("it starts again");
    let server = gateway.address("ready").await;
    let later = Request::post(format!("http://{server}/hello/")).header("prefer", "respond-async");
    let response = client::send_request(later.body("{}".into()).expect("a request")).await;
    assert_eq!(response.expect("a response").status(), StatusCode::ACCEPTED);
    assert!(gateway.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn a_gateway_reports_a_stream_of_another_retention() {
    let nats = Server::builder().jetstream(true).start().expect("a nats-server");
    let client = async_nats::connect(nats.url()).await.expect("a connection");
    let stream = Config { name: "TASK".into(), subjects: vec!["task.TASK.>".into()], ..Config::default() };
    async_nats::jetstream::new(client).create_stream(stream).await.expect("a stream");
    let (_directory, config) = config(nats.url(), "nats_stream: TASK\n");
    let (code, text, error) = run("gateway", ["--config", &config]).await;
    assert_eq!((code, text.contains("ready")), (Some(1), false), "{text}");
    assert!(error.contains("stream TASK") && error.contains("retention"), "{error}");
}

/// Changes a file, and makes the gateway read it.
async fn reload(gateway: &mut Program, path: &str, change: impl Fn(String) -> String, logged: &str) {
    let text = fs::read_to_string(path).expect("the file");
    fs::write(path, change(text)).expect("it is written");
    gateway.signal(Signal::HUP);
    gateway.logged(logged).await;
}

#[tokio::test]
async fn sighup_replaces_the_routes_and_an_invalid_file_changes_nothing() {
    let nats = Server::start().expect("a nats-server");
    let (_directory, config) = config(nats.url(), "");
    let text = fs::read_to_string(&config).expect("the file");
    // As some editors begin a file.
    fs::write(&config, format!("\u{feff}{text}")).expect("it is written");
    let mut gateway = Program::start_logging("gateway", ["--config", &config]);
    let server = gateway.address("ready").await;
    let status =
        async |path| client::send(server, Method::POST, path, "").await.expect("a response").status();
    // 503 is that of a route whose app has no consumer, 404 that of no route.
    let no_consumer = StatusCode::SERVICE_UNAVAILABLE;
    assert_eq!((status("/hello/").await, status("/bye/").await), (no_consumer, StatusCode::NOT_FOUND));

    reload(&mut gateway, &config, |text| text.replace("/hello/", "/bye/"), "the routes are replaced").await;
    assert_eq!((status("/hello/").await, status("/bye/").await), (StatusCode::NOT_FOUND, no_consumer));

    for change in [("/bye/", "/:id"), ("/:id", "/${NARUN_UNSET}"), ("nats_url", "nats_uri")] {
        reload(&mut gateway, &config, |text| text.replace(change.0, change.1), "stay as they were").await;
        assert_eq!((status("/hello/").await, status("/bye/").await), (StatusCode::NOT_FOUND, no_consumer));
    }
    let other_key = |_| text.replace("/hello/", "/hi/").replace("seconds: 15", "seconds: 16");
    reload(&mut gateway, &config, other_key, "needs a restart").await;
    assert_eq!(status("/bye/").await, no_consumer);
    reload(&mut gateway, &config, |_| text.clone(), "the routes are replaced").await;
    assert_eq!((status("/hello/").await, status("/bye/").await), (no_consumer, StatusCode::NOT_FOUND));
    assert!(gateway.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn programs_end_although_nobody_reads_their_log() {
    let nats = Server::start().expect("a nats-server");
    let (_directory, config) = config(nats.url(), "");
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = Program::start_logging("gateway", ["--config", &config]);
        let server = gateway.address("ready").await;
        let mut hello = Program::start_logging("hello", ["--nats-url", nats.url()]);
        hello.line("ready").await;
        gateway.close_log();
        hello.close_log();
        ask(server).await;
        // The gateway logs this one, too.
        gateway.signal(Signal::HUP);
        ask(server).await;
        assert!(gateway.end(signal).await.success());
        assert!(hello.end(signal).await.success());
    }
}

#[tokio::test]
async fn programs_serve_although_nobody_reads_their_output() {
    let nats = Server::start().expect("a nats-server");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = listener.local_addr().expect("an address");
    drop(listener);
    let (listen, hello) = (server.to_string(), ["--nats-url", nats.url()]);
    let variables = [("NATS_URL", nats.url()), ("LISTEN", &listen[..])];
    for (consumer, arguments) in [("hello", &hello[..]), ("smallest_consumer", &[])] {
        let consumer = Program::start_unheard(consumer, arguments, &variables);
        let gateway = Program::start_unheard("smallest_gateway", [""; 0], &variables);
        eventually("a response", async || {
            let response = client::send(server, Method::POST, "/hello/", r#"{"name": "World"}"#).await;
            response.is_ok_and(|response| response.status() == StatusCode::OK)
        })
        .await;
        assert!(gateway.end(Signal::TERM).await.success());
        assert!(consumer.end(Signal::TERM).await.success());
    }
}

#[test]
fn no_example_panics_when_it_prints() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in [folder.to_owned(), folder.join("src"), folder.join("src/http")] {
        for file in fs::read_dir(folder).expect("a folder") {
            let path = file.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                assert!(!code.any(|line| line.contains("print!(") || line.contains("println!(")), "{path:?}");
            }
        }
    }
}
