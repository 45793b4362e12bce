//! Fields that are passed on, added or dropped.

use http::header::{HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use narun_gateway::{Body, ForwardedPolicy, Peer};

use crate::harness::{get, pair, pair_with, post, request, send, spawn};

fn map(fields: &[(&'static str, &'static [u8])]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static [u8])| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"))
    };
    HeaderMap::from_iter(fields.iter().map(field))
}

fn values<'a>(fields: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    fields.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

#[tokio::test]
async fn unusual_fields_are_passed_on_unchanged_both_ways() {
    let mut odd =
        map(&[("x-empty", b""), ("x-latin", b"caf\xe9"), ("x-tab", b"a\tb"), ("cookie", b"a=b; c")]);
    for value in ["b", "a", "b", ""] {
        odd.append("x-many", HeaderValue::from_static(value));
    }
    let (gateway, mut consumer) = pair_with(|builder| builder.forwarded(ForwardedPolicy::Off)).await;
    let mut request = get("/%2F/a%20b//..;x?q=%00&&=");
    request.headers_mut().extend(odd.clone());
    let client = spawn(&gateway, request);

    let exchange = consumer.request().await;
    let mut parts = exchange.request.parts.headers.clone();
    assert!(parts.remove("x-request-id").is_some() && parts.remove("host").is_some());
    assert_eq!(parts, odd);
    assert_eq!(exchange.request.parts.uri, "/%2F/a%20b//..;x?q=%00&&=");
    let mut response = Response::new(Body::from("\u{0}"));
    *response.status_mut() = StatusCode::from_u16(599).expect("a status");
    *response.headers_mut() = odd.clone();
    exchange.respond(response).await;
    let mut response = client.await.expect("no panic");
    assert_eq!(response.status, 599);
    assert!(response.headers.remove("x-request-id").is_some());
    assert_eq!(response.headers, odd);
    assert_eq!(values(&response.headers, "x-many"), [&b"b"[..], b"a", b"b", b""]);
    assert_eq!(response.body, "\u{0}");
}

#[tokio::test]
async fn trailers_are_passed_on_both_ways() {
    let (gateway, mut consumer) = pair().await;
    let trailers = map(&[("x-checksum", b"1"), ("grpc-status", b"0")]);
    let body = Body::from("content").with_trailers(Some(trailers.clone()));
    let response =
        spawn(&gateway, Request::builder().method(Method::POST).uri("/").body(body).expect("a request"));
    let exchange = consumer.request().await;
    assert_eq!(exchange.request.trailers.as_ref(), Some(&trailers));
    exchange.respond(Response::new(Body::from("back").with_trailers(Some(trailers.clone())))).await;
    let response = response.await.expect("no panic");
    assert_eq!(response.body, "back");
    assert_eq!(response.trailers, Some(trailers));
}

#[tokio::test]
async fn method_version_and_authority_are_passed_on() {
    let (gateway, mut consumer) = pair().await;
    let request = Request::builder()
        .method("PROPFIND")
        .version(Version::HTTP_2)
        .uri("https://example.com:8443/a?b")
        .body(Body::empty())
        .expect("a request");
    let response = spawn(&gateway, request);
    let exchange = consumer.request().await;
    let parts = &exchange.request.parts;
    assert_eq!(parts.method, "PROPFIND");
    assert_eq!(parts.version, Version::HTTP_2);
    assert_eq!(parts.uri.authority().expect("an authority"), "example.com:8443");
    assert_eq!(parts.uri.path_and_query().expect("a target"), "/a?b");
    exchange.ok("").await;
    response.await.expect("no panic");
}

#[tokio::test]
async fn hop_by_hop_fields_are_dropped() {
    let hop_by_hop = map(&[
        ("connection", b"close, x-mine"),
        ("x-mine", b"1"),
        ("keep-alive", b"5"),
        ("te", b"trailers"),
        ("transfer-encoding", b"chunked"),
        ("upgrade", b"h2c"),
        ("proxy-authorization", b"secret"),
    ]);
    let (gateway, mut consumer) = pair().await;
    let mut request = post("/");
    request.headers_mut().extend(hop_by_hop.clone());
    request.headers_mut().insert("x-kept", HeaderValue::from_static("1"));
    let client = spawn(&gateway, request);
    let exchange = consumer.request().await;
    let mut response = Response::new(Body::from("ok"));
    *response.headers_mut() = hop_by_hop.clone();
    response.headers_mut().insert("x-kept", HeaderValue::from_static("1"));
    exchange.respond(response).await;
    let response = client.await.expect("no panic");
    for fields in [&exchange.request.parts.headers, &response.headers] {
        for name in hop_by_hop.keys() {
            assert!(!fields.contains_key(name), "{name}");
        }
        assert_eq!(values(fields, "x-kept"), [b"1"]);
    }
}

#[tokio::test]
async fn the_app_gets_the_address_and_scheme_of_the_client() {
    let proxies = ["192.0.2.0/24".parse().expect("a block")];
    let (gateway, mut consumer) = pair_with(|builder| builder.trusted_proxies(proxies)).await;
    let mut request = get("/");
    request.headers_mut().extend(map(&[("host", b"example.com"), ("x-forwarded-for", b"198.51.100.7")]));
    request.extensions_mut().insert(Peer::new(([192, 0, 2, 1], 1234).into(), Scheme::HTTPS));
    let response = spawn(&gateway, request);
    let exchange = consumer.request().await;
    let fields = &exchange.request.parts.headers;
    assert_eq!(values(fields, "forwarded"), [b"for=192.0.2.1;host=example.com;proto=https"]);
    assert_eq!(values(fields, "x-forwarded-for"), [&b"198.51.100.7"[..], b"192.0.2.1"]);
    assert_eq!(values(fields, "x-forwarded-host"), [b"example.com"]);
    assert_eq!(values(fields, "x-forwarded-proto"), [b"https"]);
    assert_eq!(exchange.request.head.peer, Some(([192, 0, 2, 1], 1234).into()));
    assert_eq!(exchange.request.head.scheme, Scheme::HTTPS);
    exchange.ok("").await;
    response.await.expect("no panic");
}

#[tokio::test]
async fn a_request_id_is_passed_on_or_added() {
    let (gateway, mut consumer) = pair().await;
    let mut request = get("/");
    request.headers_mut().insert("x-request-id", HeaderValue::from_static("mine"));
    let response = spawn(&gateway, request);
    let exchange = consumer.request().await;
    assert_eq!(values(&exchange.request.parts.headers, "x-request-id"), [b"mine"]);
    exchange.send("junk").await;
    assert_eq!(response.await.expect("no panic").header("x-request-id"), Some("mine"));

    let response = spawn(&gateway, get("/"));
    let exchange = consumer.request().await;
    let made = exchange.request.parts.headers["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(made, exchange.request.head.id.to_string());
    exchange.send("junk").await;
    assert_eq!(response.await.expect("no panic").header("x-request-id"), Some(made.as_str()));
}

#[tokio::test]
async fn tunnels_are_501() {
    let (gateway, mut consumer) = pair().await;
    let mut websocket = get("/chat");
    websocket.headers_mut().extend(map(&[("connection", b"upgrade"), ("upgrade", b"h2c, WebSocket")]));
    // Extended CONNECT of HTTP/2 (RFC 8441), and a plain tunnel.
    let connect = [request(Method::CONNECT, "/chat", ""), request(Method::CONNECT, "example.com:443", "")];
    for request in std::iter::once(websocket).chain(connect) {
        assert_eq!(send(&gateway, request).await.status, StatusCode::NOT_IMPLEMENTED);
    }
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none());
}
