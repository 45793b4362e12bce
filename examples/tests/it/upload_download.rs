use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use narun_support::Server;
use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Program, eventually, get, run, soon};

/// A body that takes longer than any test.
const ENDLESS: &str = "/down/1000000000000000";

/// Gateway and consumer, and the gateway's address.
async fn parts(nats: &Server) -> (Program, Program, SocketAddr) {
    let consumer = consumer(nats).await;
    let mut gateway = Program::start("upload_download", ["--nats-url", nats.url(), "gateway"]);
    let server = gateway.address("ready").await;
    (gateway, consumer, server)
}

async fn consumer(nats: &Server) -> Program {
    let mut consumer = Program::start("upload_download", ["--nats-url", nats.url(), "consumer"]);
    consumer.line("ready").await;
    consumer
}

/// Sends a request, and returns the response when its head is there.
async fn begun(server: SocketAddr, version: Version, path: &str) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).http2_only(version == Version::HTTP_2).build_http();
    let request = Request::get(format!("http://{server}{path}")).body(Empty::<Bytes>::new());
    let response = client.request(request.expect("a request")).await.expect("a response");
    assert_eq!((response.status(), response.version()), (StatusCode::OK, version));
    response
}

/// Reads a body to its end, and returns its length. Returns `None` if it breaks off.
async fn read(mut body: Incoming) -> Option<usize> {
    let mut read = 0;
    while let Some(frame) = soon("a part of a body", body.frame()).await {
        read += frame.ok()?.data_ref().map_or(0, Bytes::len);
    }
    Some(read)
}

#[tokio::test]
async fn every_byte_is_right_both_ways() {
    for size in ["0", "1", "3000001"] {
        let (code, text, error) = run("upload_download", ["--size", size]).await;
        assert_eq!(code, Some(0), "{text}{error}");
        let figures: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("it is JSON");
        assert_eq!(figures["size"].to_string(), size);
        for key in ["up_mib_s", "down_mib_s"] {
            assert!(figures[key].is_number(), "{figures}");
        }
        if cfg!(target_os = "linux") {
            for process in ["client", "gateway", "consumer", "nats-server"] {
                assert!(figures["rss_mib"][process].as_f64().is_some_and(|mib| mib > 1.0), "{figures}");
            }
        }
    }
}

#[tokio::test]
async fn a_killed_consumer_aborts_the_body() {
    let nats = Server::start().expect("a nats-server");
    let (gateway, first, server) = parts(&nats).await;
    let mut running = first;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut body = begun(server, version, ENDLESS).await.into_body();
        soon("a part", body.frame()).await.expect("a part").expect("well");
        running.end(Signal::KILL).await;
        assert_eq!(read(body).await, None, "the body seemed complete");
        running = consumer(&nats).await;
        let whole = begun(server, version, "/down/1000").await.into_body();
        assert_eq!(read(whole).await, Some(1000));
    }
    assert!(running.end(Signal::TERM).await.success());
    assert!(gateway.end(Signal::TERM).await.success());
}

#[tokio::test]
async fn a_restarted_server_aborts_the_body_and_later_requests_succeed() {
    let mut nats = Server::start().expect("a nats-server");
    let (gateway, consumer, server) = parts(&nats).await;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut body = begun(server, version, ENDLESS).await.into_body();
        soon("a part", body.frame()).await.expect("a part").expect("well");
        let reading = tokio::spawn(read(body));
        // If no message was in flight at that moment, nothing is lost, and the body goes on.
        while !reading.is_finished() {
            nats = tokio::task::spawn_blocking(move || nats.restart().map(|()| nats))
                .await
                .expect("no panic")
                .expect("the server again");
            let _ = tokio::time::timeout(Duration::from_secs(10), async {
                while !reading.is_finished() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
        assert_eq!(reading.await.expect("no panic"), None, "the body seemed complete");
        eventually("served again", async || get(server, "/down/0").await.0 == StatusCode::OK).await;
        let whole = begun(server, version, "/down/1000000").await.into_body();
        assert_eq!(read(whole).await, Some(1_000_000));
    }
    assert!(consumer.end(Signal::TERM).await.success());
    assert!(gateway.end(Signal::TERM).await.success());
}
