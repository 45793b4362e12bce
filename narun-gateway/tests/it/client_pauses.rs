//! Clients that pause while they send, and clients that end their side of the connection.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use narun_core::exchange::Cancelled;
use narun_gateway::{Gateway, Route};
use tokio::io::AsyncWriteExt;

use crate::consumer::Consumer;
use crate::harness::{Metrics, eventually, pair, pair_with, soon};
use crate::http_server::{Http, read_to_end, read_until, status};
use crate::streaming::Handler;

const PATIENCE: Duration = Duration::from_millis(400);

/// A gateway with little patience, and its consumer.
async fn impatient() -> (Gateway, Consumer) {
    let (gateway, consumer) = pair_with(|builder| builder.timeout(PATIENCE)).await;
    gateway.replace_routes([Route::post("/pauses", consumer.app())]).expect("routes");
    (gateway, consumer)
}

/// Reads all of a body that does not end, and returns why the exchange ended.
async fn reads(consumer: &mut Consumer) -> Cancelled {
    let mut handler = Handler::new(consumer.request().await).await;
    while let Some(Ok(_)) = handler.read().await {}
    handler.cancelled().await
}

fn head(fields: &str) -> String {
    format!("POST /pauses HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n")
}

#[tokio::test]
async fn a_client_that_pauses_gets_408() {
    let metrics = Metrics::install();
    let (gateway, mut consumer) = impatient().await;
    let http = Http::start(&gateway).await;
    let subject = format!("call.TASK.{}", consumer.app());
    let over_nats = |status: &str| {
        metrics.value("http_gateway_nats_requests_total", &[("subject", &subject), ("status", status)])
    };
    let requests = |status: &str| {
        let labels = [("path", "/pauses"), ("status_code", status)];
        metrics.value("http_gateway_requests_total", &labels)
    };
    for (fields, content) in [
        ("transfer-encoding: chunked", "4\r\nsome\r\n"),
        ("content-length: 1000000", "some"),
        ("content-length: 1000000\r\nexpect: 100-continue", ""),
    ] {
        let mut stream = http.send(&format!("{}{content}", head(fields))).await;
        let (reason, status) = tokio::join!(reads(&mut consumer), async {
            match status(&mut stream).await {
                100 => status(&mut stream).await,
                status => status,
            }
        });
        assert_eq!((reason, status), (Cancelled::ByCaller, 408), "{fields}");
    }
    assert_eq!((over_nats("client_timeout"), over_nats("timeout"), requests("408")), (3.0, 0.0, 3.0));

    // A short body is collected first, so its request is not sent.
    let mut stream = http.send(&format!("{}some", head("content-length: 10"))).await;
    assert_eq!(status(&mut stream).await, 408);
    assert_eq!((over_nats("client_timeout"), requests("408"), requests("504")), (3.0, 4.0, 0.0));
    assert!(consumer.waiting_request().is_none());
}

#[tokio::test]
async fn a_client_of_http2_that_pauses_gets_408() {
    let metrics = Metrics::install();
    let (gateway, mut consumer) = impatient().await;
    let http = Http::start(&gateway).await;
    let (client, connection) = h2::client::handshake(http.connect().await).await.expect("a connection");
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("a stream");
    let request = Request::post("http://x/pauses").body(()).expect("a request");
    let (response, mut body) = client.send_request(request, false).expect("a request");
    body.send_data(Bytes::from_static(b"some"), false).expect("sent");
    let (reason, response) = tokio::join!(reads(&mut consumer), soon("a response", response));
    let status = response.expect("a response").status();
    assert_eq!((reason, status), (Cancelled::ByCaller, StatusCode::REQUEST_TIMEOUT));
    let subject = format!("call.TASK.{}", consumer.app());
    let over_nats = |status: &str| {
        metrics.value("http_gateway_nats_requests_total", &[("subject", &subject), ("status", status)])
    };
    let requests = |status: &str| {
        let labels = [("path", "/pauses"), ("status_code", status)];
        metrics.value("http_gateway_requests_total", &labels)
    };
    assert_eq!((over_nats("client_timeout"), over_nats("timeout")), (1.0, 0.0));
    assert_eq!((requests("408"), requests("504")), (1.0, 0.0));
    connection.abort();
}

#[tokio::test]
async fn a_handler_that_pauses_makes_it_504() {
    let (gateway, mut consumer) = impatient().await;
    let http = Http::start(&gateway).await;
    for (content, reads) in [("4\r\nsome\r\n0\r\n\r\n", true), ("4\r\nsome\r\n", false)] {
        let mut stream = http.send(&format!("{}{content}", head("transfer-encoding: chunked"))).await;
        let mut handler = Handler::new(consumer.request().await).await;
        if reads {
            handler.read_all().await.expect("a whole body");
        }
        let (_, status) = tokio::join!(handler.cancelled(), status(&mut stream));
        assert_eq!(status, 504, "{content:?}");
    }
}

#[tokio::test]
async fn a_client_that_ends_its_side_is_gone_unless_the_server_allows_it() {
    let metrics = Metrics::install();
    let (gateway, mut consumer) = pair().await;
    gateway.replace_routes([Route::get("/half", consumer.app())]).expect("routes");
    let subject = format!("call.TASK.{}", consumer.app());
    let cancelled = || {
        let gone = metrics.value("http_gateway_requests_total", &[("path", "/half"), ("status_code", "499")]);
        let labels = [("subject", &subject[..]), ("status", "cancelled")];
        (gone, metrics.value("http_gateway_nats_requests_total", &labels))
    };
    for allowed in [false, true] {
        let http = Http::start_with(gateway.service(), |server| {
            server.http1().half_close(allowed);
        })
        .await;
        let mut stream = http.send("GET /half HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        stream.shutdown().await.expect("its side is closed");
        if allowed {
            consumer.request().await.ok("response").await;
            assert!(read_until(&mut stream, "response").await.starts_with("HTTP/1.1 200"));
        } else {
            assert_eq!(read_to_end(&mut stream).await, b"");
            eventually("a request that is counted", async || cancelled() == (1.0, 1.0)).await;
            consumer.request().await;
        }
    }
    assert_eq!(cancelled(), (1.0, 1.0));
}
