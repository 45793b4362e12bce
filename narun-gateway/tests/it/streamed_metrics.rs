//! Metrics of streamed bodies.

use bytes::Bytes;
use http::Response;
use narun_core::frame::Data;
use narun_gateway::{Linger, Route};

use crate::harness::{Metrics, eventually, get, pair_with, spawn, spawn_open};
use crate::streaming::{Handler, broken, streamed_response, upload};

#[tokio::test]
async fn bytes_and_resets_are_counted() {
    let metrics = Metrics::install();
    let (gateway, mut consumer) = pair_with(|builder| builder.linger(Linger::off())).await;
    gateway.replace_routes([Route::any("/", consumer.app()).max_body(20)]).expect("routes");
    let bytes = |direction: &str| {
        metrics.value(&format!("http_gateway_{direction}_body_bytes_total"), &[("path", "/")])
    };
    let resets = |reason: &str| {
        metrics.value("http_gateway_stream_resets_total", &[("path", "/"), ("reason", reason)])
    };

    let (uploader, request) = upload();
    uploader.send("inline");
    let response = spawn(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    uploader.send(" rest");
    uploader.finish(None);
    handler.read_all().await.expect("a whole body");
    handler.begin(Response::new("begin")).await;
    handler.send_all(&" end".into(), None).await;
    response.await.expect("no panic");
    assert_eq!((bytes("request"), bytes("response")), (11.0, 9.0));
    assert_eq!(metrics.value("http_gateway_stream_resets_total", &[]), 0.0);
    let success = [("status", "success"), ("subject", &format!("call.TASK.{}", consumer.app())[..])];
    assert_eq!(metrics.value("http_gateway_nats_requests_total", &success), 1.0);

    for reason in ["cancelled", "gap", "reset", "length"] {
        let response = spawn_open(&gateway, get("/"));
        let mut handler = Handler::new(consumer.request().await).await;
        let length = if reason == "length" { "9" } else { "5" };
        let begun = Response::builder().header("content-length", length).body("");
        handler.begin(begun.expect("a response")).await;
        let response = response.await.expect("no panic");
        assert_eq!(metrics.value("http_gateway_requests_in_flight", &[]), 0.0, "until the head");
        match reason {
            "cancelled" => drop(response),
            "gap" => {
                handler
                    .publish(Data { sequence: 2, body: Bytes::new(), end: true, trailers: None }.encode())
                    .await;
                broken(response.into_body()).await;
            }
            "reset" => {
                handler.abort().await;
                broken(response.into_body()).await;
            }
            _ => {
                handler.finish(None).await;
                broken(response.into_body()).await;
            }
        }
        assert_eq!(resets(reason), 1.0, "{reason}");
    }

    let (uploader, request) = upload();
    let response = spawn_open(&gateway, request);
    let mut handler = Handler::new(consumer.request().await).await;
    handler.begin(streamed_response()).await;
    let response = response.await.expect("no panic");
    uploader.send("more than twenty bytes");
    eventually("a body that is taken", async || {
        let _ = tokio::time::timeout(std::time::Duration::from_millis(10), handler.read()).await;
        uploader.is_dropped()
    })
    .await;
    broken(response.into_body()).await;
    assert_eq!(resets("too_large"), 1.0);
}
