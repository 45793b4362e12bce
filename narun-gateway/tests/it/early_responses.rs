//! Responses before the request's body has ended, to clients that send all of it before they read.

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response, StatusCode};
use narun_core::Body;
use narun_gateway::{Linger, Route};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::consumer::Consumer;
use crate::harness::{SERVER, builder, eventually, get, new_app, pair, pair_with, send, soon};
use crate::http_server::{Http, read_to_end, read_until, status};
use crate::proxy::Proxy;

const LENGTH: usize = 1 << 20;
const TIMES: usize = 20;

/// Sends the head of a request with a long body.
async fn begin(http: &Http, head: &str) -> TcpStream {
    http.send(&format!("{head}host: x\r\ncontent-length: {LENGTH}\r\n\r\n")).await
}

/// Sends the body after the response has arrived, and only then reads its status.
async fn send_then_read(mut stream: TcpStream) -> u16 {
    soon("an early response", stream.readable()).await.expect("a response");
    for _ in 0..LENGTH / 1024 {
        stream.write_all(&[b'x'; 1024]).await.expect("the connection is open");
    }
    status(&mut stream).await
}

fn unauthorized(content: &'static str) -> Response<Body> {
    Response::builder().status(401).body(Body::from(content)).expect("a response")
}

#[tokio::test]
async fn a_client_that_sends_first_gets_each_refusal() {
    let (gateway, consumer) = pair().await;
    let app = consumer.app();
    let routes = [
        Route::post("/small", app).max_body(1000),
        Route::post("/durable", app).max_body(1000).durable(),
        Route::post("/any", app),
        Route::post("/nobody", new_app()),
    ];
    gateway.replace_routes(routes).expect("routes");
    let http = Http::start(&gateway).await;
    for (head, expected) in [
        ("POST /elsewhere HTTP/1.1\r\n", 404),
        ("PUT /small HTTP/1.1\r\n", 405),
        ("POST /small HTTP/1.1\r\n", 413),
        ("POST /durable HTTP/1.1\r\n", 413),
        ("POST /any HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n", 501),
        ("POST /nobody HTTP/1.1\r\n", 503),
        ("POST /.narun/requests/x HTTP/1.1\r\n", 405),
    ] {
        for _ in 0..TIMES {
            assert_eq!(send_then_read(begin(&http, head).await).await, expected, "{head}");
        }
    }
}

#[tokio::test]
async fn a_client_that_sends_first_gets_the_response_of_an_app_that_does_not_read() {
    let (gateway, mut consumer) = pair().await;
    let http = Http::start(&gateway).await;
    for _ in 0..TIMES {
        let stream = begin(&http, "POST / HTTP/1.1\r\n").await;
        consumer.request().await.respond(unauthorized("who are you?")).await;
        assert_eq!(send_then_read(stream).await, 401);
    }
}

#[tokio::test]
async fn a_client_that_sends_first_gets_413_for_a_body_that_grows_over_the_limit() {
    let (gateway, consumer) = pair().await;
    let route = |path| Route::post(path, consumer.app()).max_body(1000);
    gateway.replace_routes([route("/direct"), route("/durable").durable()]).expect("routes");
    let http = Http::start(&gateway).await;
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    for path in ["/direct", "/durable"].into_iter().cycle().take(2 * TIMES) {
        let mut stream = http
            .send(&format!("POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"))
            .await;
        soon("an early response", stream.readable()).await.expect("a response");
        for _ in 0..LENGTH / 1024 {
            stream.write_all(chunk.as_bytes()).await.expect("the connection is open");
        }
        stream.write_all(b"0\r\n\r\n").await.expect("the connection is open");
        assert_eq!(status(&mut stream).await, 413);
    }
}

#[tokio::test]
async fn a_gateway_without_nats_responds_at_once_and_keeps_the_connection() {
    let proxy = Proxy::start(SERVER.port()).await;
    let gateway = builder(proxy.connect().await, &new_app()).build().await.expect("a gateway");
    proxy.cut();
    eventually("a refusal", async || {
        send(&gateway, get("/")).await.status == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    let http = Http::start(&gateway).await;
    let mut stream = http.connect().await;
    for _ in 0..2 {
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        soon("an early response", stream.readable()).await.expect("a response");
        stream.write_all(&vec![b'x'; LENGTH]).await.expect("the connection is open");
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        read_until(&mut stream, "}\n").await;
    }
}

#[tokio::test]
async fn a_client_that_sends_too_much_is_disconnected_after_the_response() {
    let (gateway, _consumer) = pair_with(|builder| builder.linger(Linger::new().bytes(1000))).await;
    gateway.replace_routes([]).expect("routes");
    let http = Http::start(&gateway).await;
    let mut stream = begin(&http, "POST / HTTP/1.1\r\n").await;
    assert_eq!(status(&mut stream).await, 404);
    let sends = async { while stream.write_all(&[b'x'; 1024]).await.is_ok() {} };
    soon("a closed connection", sends).await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_not_read() {
    let (gateway, mut consumer) = pair().await;
    let routes = [Route::post("/", consumer.app()), Route::post("/small", consumer.app()).max_body(10)];
    gateway.replace_routes(routes).expect("routes");
    let http = Http::start(&gateway).await;
    for (target, expected) in
        [("/small", "HTTP/1.1 413"), ("/elsewhere", "HTTP/1.1 404"), ("/", "HTTP/1.1 401")]
    {
        let mut stream = begin(&http, &format!("POST {target} HTTP/1.1\r\nexpect: 100-continue\r\n")).await;
        if target == "/" {
            consumer.request().await.respond(unauthorized("")).await;
        }
        let received = String::from_utf8(read_to_end(&mut stream).await).expect("text");
        assert!(received.starts_with(expected), "{received}");
    }
}

/// The status of an HTTP/2 request that pauses in its body, and the code with which the server ends its stream.
async fn http2(http: &Http, consumer: Option<&mut Consumer>) -> (StatusCode, Option<Reason>, usize) {
    let (client, connection) = h2::client::handshake(http.connect().await).await.expect("a connection");
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("a stream");
    let request = Request::post("http://x/").body(()).expect("a request");
    let (response, mut body) = client.send_request(request, false).expect("a request");
    body.send_data(Bytes::from_static(&[b'x'; 1000]), false).expect("sent");
    if let Some(consumer) = consumer {
        consumer.request().await.respond(unauthorized("who are you?")).await;
    }
    let response = soon("a response", response).await.expect("a response");
    let (head, mut content) = response.into_parts();
    let mut length = 0;
    while let Some(data) = soon("content", content.data()).await {
        length += data.expect("the whole content").len();
    }
    let reset = soon("a reset", std::future::poll_fn(|cx| body.poll_reset(cx))).await;
    connection.abort();
    (head.status, reset.ok(), length)
}

#[tokio::test]
async fn http2_streams_end_without_an_error() {
    let (gateway, mut consumer) = pair().await;
    let http = Http::start(&gateway).await;
    let app = http2(&http, Some(&mut consumer)).await;
    assert_eq!(app, (StatusCode::UNAUTHORIZED, Some(Reason::NO_ERROR), "who are you?".len()));
    gateway.replace_routes([]).expect("routes");
    let (status, reset, length) = http2(&http, None).await;
    assert_eq!((status, reset), (StatusCode::NOT_FOUND, Some(Reason::NO_ERROR)));
    assert!(length > 0);
}
