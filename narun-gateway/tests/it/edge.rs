//! The HTTP edge, byte by byte over TCP: `Host`, transfer codings, upgrades, cookies, and what the client cannot remove.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use http::{HeaderMap, HeaderName, Response, header};
use narun_core::Body;
use narun_gateway::{Gateway, Route, StripHopByHopLayer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::consumer::Consumer;
use crate::harness::{connect, new_app, pair, pair_with, soon};

/// An axum app on a port of its own.
pub(crate) struct Edge {
    address: SocketAddr,
    task: AbortHandle,
}

impl Edge {
    pub(crate) async fn start(app: Router) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, app).await }).abort_handle();
        Self { address, task }
    }

    async fn of(gateway: &Gateway) -> Self {
        Self::start(Router::new().fallback_service(gateway.service())).await
    }

    /// Opens a connection and sends this.
    pub(crate) async fn send(&self, request: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(request.as_ref()).await.expect("sent");
        stream
    }

    /// The response to this request, after which the server closes the connection.
    pub(crate) async fn response(&self, request: &str) -> String {
        read(self.send(request).await).await
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads until the connection ends.
pub(crate) async fn read(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // Whether it ends with an error depends on TCP.
    let _ = soon("the end of a connection", stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).to_lowercase()
}

/// A GET request with this target and these lines.
fn get(target: &str, lines: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n")
}

fn all<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    fields.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
}

/// RFC 9112, 3.2.
#[tokio::test]
async fn a_missing_repeated_or_invalid_host_is_400() {
    let (gateway, mut consumer) = pair().await;
    let edge = Edge::of(&gateway).await;
    for lines in [
        "",
        "Host: a.example\r\nHost: a.example\r\n",
        "Host: a.example\r\nHost: b.example\r\n",
        "Host: a b\r\n",
        "Host: a.example/evil\r\n",
        "Host: user@a.example\r\n",
        "Host: a.example:abc\r\n",
        "Host: a.example, b.example\r\n",
        "Host: [::1\r\n",
        "Host: caf\u{e9}\r\n",
    ] {
        for target in ["/", "http://a.example/"] {
            let response = edge.response(&get(target, lines)).await;
            assert!(response.starts_with("http/1.1 400 "), "{target} {lines} {response}");
            assert!(response.contains("\r\nx-request-id: "), "{response}");
        }
    }
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none());
}

#[tokio::test]
async fn http_1_0_needs_no_host() {
    let (gateway, mut consumer) = pair().await;
    let edge = Edge::of(&gateway).await;
    let stream = edge.send("GET / HTTP/1.0\r\n\r\n").await;
    let exchange = consumer.request().await;
    assert!(!exchange.request.parts.headers.contains_key(header::HOST));
    exchange.ok("").await;
    assert!(read(stream).await.starts_with("http/1.0 200 "));
}

/// RFC 9112, 3.2.2.
#[tokio::test]
async fn the_host_of_an_absolute_target_chooses_the_route_and_is_the_one_that_the_app_gets() {
    let mut wanted = Consumer::start(connect().await, &new_app()).await;
    let other = new_app();
    let gateway = Gateway::builder(connect().await)
        .route(Route::get("/", wanted.app()).host("a.example"))
        .route(Route::get("/", &other).host("b.example"))
        .build()
        .await
        .expect("a gateway");
    let edge = Edge::of(&gateway).await;
    let stream = edge.send(get("http://A.example:81/", "Host: b.example\r\n")).await;
    let exchange = wanted.request().await;
    let parts = &exchange.request.parts;
    assert_eq!(all(&parts.headers, &header::HOST), ["A.example:81"]);
    assert_eq!(all(&parts.headers, &HeaderName::from_static("x-forwarded-host")), ["A.example:81"]);
    assert_eq!(parts.uri.authority().expect("an authority"), "a.example:81");
    exchange.ok("").await;
    read(stream).await;
}

#[tokio::test]
async fn ipv6_hosts_are_compared_by_value() {
    let mut consumer = Consumer::start(connect().await, &new_app()).await;
    let route = Route::get("/", consumer.app()).host("[2001:db8::1]");
    let gateway = Gateway::builder(connect().await).route(route).build().await.expect("a gateway");
    let edge = Edge::of(&gateway).await;
    for host in ["[2001:db8::1]", "[2001:DB8:0:0:0:0:0:1]:80", "[2001:0db8::0001]"] {
        let stream = edge.send(get("/", &format!("Host: {host}\r\n"))).await;
        consumer.request().await.ok("").await;
        assert!(read(stream).await.starts_with("http/1.1 200 "), "{host}");
    }
    assert!(edge.response(&get("/", "Host: [2001:db8::2]\r\n")).await.starts_with("http/1.1 404 "));
}

#[tokio::test]
async fn a_layer_leaves_the_host_of_other_requests_to_the_app() {
    let gateway = Gateway::builder(connect().await)
        .route(Route::get("/remote", "app").host("a.example"))
        .build()
        .await
        .expect("a gateway");
    let app = Router::new().fallback(|| async { "local" }).layer(gateway.layer());
    let edge = Edge::start(app).await;
    for lines in ["", "Host: a b\r\n", "Host: a.example\r\nHost: a.example\r\n"] {
        let response = edge.response(&get("/local", lines)).await;
        assert!(response.starts_with("http/1.1 200 ") && response.ends_with("local"), "{response}");
        // A request that might be for this route is not one for the app.
        let response = edge.response(&get("/remote", lines)).await;
        assert!(response.starts_with("http/1.1 400 "), "{response}");
    }
    let response = edge.response(&get("/remote", "Host: b.example\r\n")).await;
    assert!(response.ends_with("local"), "{response}");
}

/// RFC 9110, 7.6.1.
#[tokio::test]
async fn connection_does_not_remove_what_the_gateway_or_an_outer_layer_sets() {
    let kept = HeaderName::from_static("x-auth-user");
    let (gateway, mut consumer) = pair_with(|builder| builder.keep_fields([kept.clone()])).await;
    let app = || Router::new().fallback_service(gateway.service());
    let authenticate = || {
        axum::middleware::from_fn(
            async |mut request: axum::extract::Request, next: axum::middleware::Next| {
                request.headers_mut().insert("x-auth-user", http::HeaderValue::from_static("alice"));
                next.run(request).await
            },
        )
    };
    let named = "Host, X-Forwarded-For, X-Forwarded-Host, Forwarded, X-Request-Id, X-Auth-User, X-Mine";
    let request = format!(
        "GET / HTTP/1.1\r\nConnection: close, {named}\r\nHost: a.example\r\nX-Request-Id: mine\r\nX-Mine: 1\r\n\
         X-Auth-User: mallory\r\n\r\n"
    );
    for app in [app().layer(authenticate()), app().layer(authenticate()).layer(StripHopByHopLayer)] {
        let edge = Edge::start(app).await;
        let stream = edge.send(&request).await;
        let exchange = consumer.request().await;
        let fields = &exchange.request.parts.headers;
        assert_eq!(all(fields, &header::HOST), ["a.example"]);
        assert_eq!(all(fields, &HeaderName::from_static("x-request-id")), ["mine"]);
        assert_eq!(all(fields, &kept), ["alice"]);
        assert_eq!(all(fields, &HeaderName::from_static("x-forwarded-host")), ["a.example"]);
        assert!(!fields.contains_key("x-mine") && !fields.contains_key(header::CONNECTION));
        exchange.ok("").await;
        read(stream).await;
    }
}

/// RFC 9112, 6.1 and 7.1.
#[tokio::test]
async fn other_transfer_codings_than_chunked_are_501() {
    let (gateway, mut consumer) = pair().await;
    let edge = Edge::of(&gateway).await;
    let post = |codings: &str| {
        format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{codings}\r\n4\r\nbody\r\n0\r\n\r\n")
    };
    for (codings, status) in [
        ("Transfer-Encoding: gzip, chunked\r\n", "501"),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "501"),
        ("Transfer-Encoding: chunked, chunked\r\n", "400"),
    ] {
        let response = edge.response(&post(codings)).await;
        assert!(response.starts_with(&format!("http/1.1 {status} ")), "{codings} {response}");
    }
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none());
    let stream = edge.send(post("Transfer-Encoding: Chunked\r\n")).await;
    let exchange = consumer.request().await;
    assert_eq!(exchange.request.body, "body");
    exchange.ok("").await;
    read(stream).await;
}

/// RFC 9110, 7.8.
#[tokio::test]
async fn upgrades_count_in_http_1_1_if_connection_names_them() {
    let (gateway, mut consumer) = pair().await;
    let edge = Edge::of(&gateway).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let stream = edge.send(request).await;
        let exchange = consumer.request().await;
        assert!(!exchange.request.parts.headers.contains_key(header::UPGRADE));
        exchange.ok("").await;
        assert!(read(stream).await.contains(" 200 "));
    }
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    assert!(edge.response(upgrade).await.starts_with("http/1.1 501 "));
}

/// RFC 9110, 15.3.6.
#[tokio::test]
async fn a_205_has_no_content() {
    let (gateway, mut consumer) = pair().await;
    let edge = Edge::of(&gateway).await;
    let stream = edge.send(get("/", "Host: x\r\n")).await;
    let response = Response::builder().status(205).header("content-length", "7");
    consumer.request().await.respond(response.body(Body::from("content")).expect("a response")).await;
    let response = read(stream).await;
    assert!(response.starts_with("http/1.1 205 ") && response.ends_with("\r\n\r\n"), "{response}");
    assert!(response.contains("\r\ncontent-length: 0\r\n"), "{response}");
}

/// No HTTP server sends them as the response, and handlers return no other.
#[tokio::test]
async fn a_response_with_an_interim_status_is_502() {
    let (gateway, mut consumer) = pair().await;
    let edge = Edge::of(&gateway).await;
    for status in [101, 103] {
        let stream = edge.send(get("/", "Host: x\r\n")).await;
        let response = Response::builder().status(status).body(Body::empty());
        consumer.request().await.respond(response.expect("a response")).await;
        let response = read(stream).await;
        assert!(response.starts_with("http/1.1 502 "), "{response}");
    }
}

/// hyper drops the fragment before the gateway sees the target, so that neither the route nor the app depends on it.
#[tokio::test]
async fn a_fragment_in_the_target_reaches_nobody() {
    let (gateway, mut consumer) = pair().await;
    let edge = Edge::of(&gateway).await;
    let stream = edge.send(get("/a?b#c", "Host: x\r\n")).await;
    let exchange = consumer.request().await;
    assert_eq!(exchange.request.parts.uri, "/a?b");
    exchange.ok("").await;
    read(stream).await;
}

#[tokio::test]
async fn every_response_has_the_id_of_its_request() {
    let (gateway, mut consumer) = pair_with(|builder| builder.route(Route::get("/gone", new_app()))).await;
    gateway
        .replace_routes([Route::get("/", consumer.app()), Route::get("/gone", new_app())])
        .expect("routes");
    let edge = Edge::of(&gateway).await;
    let stream = edge.send(get("/", "Host: x\r\n")).await;
    let exchange = consumer.request().await;
    let id = exchange.request.parts.headers["x-request-id"].to_str().expect("text").to_owned();
    exchange.ok("").await;
    assert!(read(stream).await.contains(&format!("\r\nx-request-id: {id}\r\n")));

    let stream = edge.send(get("/", "Host: x\r\n")).await;
    let response = Response::builder().header("x-request-id", "the-apps").body(Body::empty());
    consumer.request().await.respond(response.expect("a response")).await;
    let response = read(stream).await;
    assert_eq!(response.matches("x-request-id: ").count(), 1, "{response}");
    assert!(response.contains("\r\nx-request-id: the-apps\r\n"), "{response}");

    for (target, status) in [("/nowhere", "404"), ("/gone", "503")] {
        let response = edge.response(&get(target, "Host: x\r\nX-Request-Id: mine\r\n")).await;
        assert!(response.contains(status) && response.contains("\r\nx-request-id: mine\r\n"), "{response}");
        // Such an id could do harm in logs.
        let response = edge.response(&get(target, "Host: x\r\nX-Request-Id: a b\r\n")).await;
        assert!(response.contains(status) && response.contains("\r\nx-request-id: "), "{response}");
        assert!(!response.contains("a b"), "{response}");
    }
    let response = edge.response("DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(response.starts_with("http/1.1 405 ") && response.contains("\r\nx-request-id: "), "{response}");
}

/// An HTTP/2 request without content, as bytes.
fn http2(fields: &[(&str, &str)]) -> Vec<u8> {
    // Literal fields without indexing (RFC 7541, 6.2.2).
    let text = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    let block: Vec<u8> =
        fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS, and HEADERS with END_STREAM and END_HEADERS (RFC 9113, 6).
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    bytes.extend([0, 0, u8::try_from(block.len()).expect("a short block"), 1, 5, 0, 0, 0, 1]);
    bytes.extend(block);
    bytes
}

const GET: [(&str, &str); 3] = [(":method", "GET"), (":scheme", "http"), (":path", "/")];

/// RFC 9113, 8.2.3 and 8.3.1.
#[tokio::test]
async fn cookies_of_http_2_are_joined_and_host_is_made_of_the_authority() {
    let (gateway, mut consumer) = pair().await;
    let edge = Edge::of(&gateway).await;
    let fields =
        [(":authority", "a.example:81"), ("host", "b.example"), ("cookie", "a=1"), ("cookie", "b=2")];
    let _stream = edge.send(http2(&[&GET[..], &fields].concat())).await;
    let exchange = consumer.request().await;
    let parts = &exchange.request.parts;
    assert_eq!(all(&parts.headers, &header::COOKIE), ["a=1; b=2"]);
    assert_eq!(all(&parts.headers, &header::HOST), ["a.example:81"]);
    assert_eq!(parts.uri.authority().expect("an authority"), "a.example:81");
    exchange.ok("").await;
}

#[tokio::test]
async fn http_2_may_have_a_host_instead_of_an_authority() {
    let (gateway, mut consumer) = pair().await;
    let edge = Edge::of(&gateway).await;
    let _stream = edge.send(http2(&[&GET[..], &[("host", "a.example")]].concat())).await;
    let exchange = consumer.request().await;
    assert_eq!(all(&exchange.request.parts.headers, &header::HOST), ["a.example"]);
    exchange.ok("").await;
}
