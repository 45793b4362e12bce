//! Where a layer and a service work in an axum app. Needs the feature `axum`.

use axum::Router;
use axum::routing::get;
use narun_gateway::{Cidr, Gateway, Route};

use crate::consumer::Consumer;
use crate::edge::{Edge, read};
use crate::harness::{connect, new_app};

/// A gateway for `POST /api/hello/` and below, and its consumer.
async fn gateway() -> (Gateway, Consumer) {
    let consumer = Consumer::start(connect().await, &new_app()).await;
    let route = Route::post("/api/hello/", consumer.app()).prefix();
    (Gateway::builder(connect().await).route(route).build().await.expect("a gateway"), consumer)
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
}

/// Asserts that requests of the route go to its app with the path that the client sent, and others to the router.
async fn assert_works(app: Router, consumer: &mut Consumer) {
    let edge = Edge::start(app).await;
    for path in ["/api/hello/", "/api/hello/you?a=b"] {
        let stream = edge.send(request("POST", path)).await;
        let exchange = consumer.request().await;
        assert_eq!(exchange.request.parts.uri, path);
        exchange.ok("remote").await;
        assert!(read(stream).await.ends_with("remote"), "{path}");
    }
    assert!(edge.response(&request("GET", "/api/local")).await.ends_with("local"));
    let response = edge.response(&request("GET", "/api/nowhere")).await;
    assert!(response.starts_with("http/1.1 404 "), "{response}");
}

/// Asserts that requests of the route do not go to its app.
async fn assert_bypassed(app: Router, consumer: &mut Consumer) {
    let edge = Edge::start(app).await;
    let response = edge.response(&request("POST", "/api/hello/")).await;
    assert!(response.starts_with("http/1.1 404 "), "{response}");
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none());
}

fn local() -> Router {
    Router::new().route("/api/local", get(async || "local"))
}

fn nested_local() -> Router {
    Router::new().route("/local", get(async || "local"))
}

async fn not_found() -> http::StatusCode {
    http::StatusCode::NOT_FOUND
}

#[tokio::test]
async fn a_layer_around_the_whole_app_works() {
    let (gateway, mut consumer) = gateway().await;
    assert_works(local().layer(gateway.layer()), &mut consumer).await;
    assert_works(local().fallback(not_found).layer(gateway.layer()), &mut consumer).await;
    let nested = Router::new().nest("/api", nested_local());
    assert_works(nested.layer(gateway.layer()), &mut consumer).await;
}

#[tokio::test]
async fn a_fallback_service_works() {
    let (gateway, mut consumer) = gateway().await;
    assert_works(local().fallback_service(gateway.service()), &mut consumer).await;
}

#[tokio::test]
async fn a_fallback_that_is_set_after_the_layer_bypasses_it() {
    let (gateway, mut consumer) = gateway().await;
    assert_bypassed(local().layer(gateway.layer()).fallback(not_found), &mut consumer).await;
}

#[tokio::test]
async fn a_route_layer_sees_only_the_routes_of_the_app() {
    let (gateway, mut consumer) = gateway().await;
    assert_bypassed(local().route_layer(gateway.layer()), &mut consumer).await;
    let app = local().route("/api/hello/", axum::routing::post(async || "local"));
    let app = app.route("/api/hello/{*rest}", axum::routing::post(async || "local"));
    assert_works(app.route_layer(gateway.layer()), &mut consumer).await;
}

#[tokio::test]
async fn a_layer_in_a_nested_router_needs_a_fallback_there() {
    let (gateway, mut consumer) = gateway().await;
    let nested = nested_local().fallback(not_found).layer(gateway.layer());
    assert_works(Router::new().nest("/api", nested), &mut consumer).await;
    let nested = nested_local().layer(gateway.layer());
    assert_bypassed(Router::new().nest("/api", nested), &mut consumer).await;
}

#[tokio::test]
async fn a_service_in_a_nested_router_works() {
    let (gateway, mut consumer) = gateway().await;
    let nested = nested_local().fallback_service(gateway.service());
    assert_works(Router::new().nest("/api", nested), &mut consumer).await;
    let app = local().nest_service("/api/hello", gateway.service());
    assert_works(app, &mut consumer).await;
    let deep = Router::new().nest_service("/hello", gateway.service());
    assert_works(local().nest("/api", deep), &mut consumer).await;
}

#[tokio::test]
async fn a_nested_service_matches_the_whole_path() {
    let (gateway, mut consumer) = gateway().await;
    // The path without the prefix would match.
    let app = Router::new().nest_service("/outer", gateway.service());
    let edge = Edge::start(app).await;
    let response = edge.response(&request("POST", "/outer/api/hello/")).await;
    assert!(response.starts_with("http/1.1 404 "), "{response}");
    consumer.settle(consumer.client()).await;
    assert!(consumer.waiting_request().is_none());
}

#[tokio::test]
async fn the_app_gets_the_address_of_the_connection() {
    let mut consumer = Consumer::start(connect().await, &new_app()).await;
    let builder = || async { Gateway::builder(connect().await).route(Route::get("/", consumer.app())) };
    let stranger = builder().await.build().await.expect("a gateway");
    let proxies: [Cidr; 1] = ["127.0.0.0/8".parse().expect("a block")];
    let proxied = builder().await.trusted_proxies(proxies).build().await.expect("a gateway");
    for (gateway, expected) in [(stranger, &["127.0.0.1"][..]), (proxied, &["198.51.100.7", "127.0.0.1"])] {
        let edge = Edge::start(Router::new().layer(gateway.layer())).await;
        let forged = "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n";
        let stream =
            edge.send(format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{forged}\r\n")).await;
        let exchange = consumer.request().await;
        let values = |name| -> Vec<_> {
            exchange.request.parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!(values("x-forwarded-for"), expected);
        assert_eq!(values("x-forwarded-proto"), [if expected.len() > 1 { "https" } else { "http" }]);
        assert_eq!(values("forwarded"), ["for=127.0.0.1;host=x;proto=http"]);
        let peer = exchange.request.head.peer.expect("a peer");
        assert!(peer.ip().is_loopback());
        exchange.ok("").await;
        read(stream).await;
    }
}
