//! Requests that match a route, and others.

use axum::Router;
use axum::routing::get as on_get;
use http::{Method, StatusCode};
use narun_gateway::Route;
use tower::ServiceExt;

use crate::harness::{HttpResponse, connect, get, grpc, pair, pair_with, request, send, spawn, with_host};

#[tokio::test]
async fn a_matching_request_goes_to_the_app_and_its_response_to_the_client() {
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, request(Method::POST, "/hello?a=b", "who"));
    let exchange = consumer.request().await;
    assert_eq!(exchange.request.parts.method, Method::POST);
    assert_eq!(exchange.request.parts.uri, "/hello?a=b");
    assert_eq!(exchange.request.body, "who");
    assert!(exchange.request.head.end);
    exchange.ok("you").await;
    let response = response.await.expect("no panic");
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.body, "you");
}

#[tokio::test]
async fn a_service_responds_to_other_requests_with_404_or_405() {
    let gateway = narun_gateway::Gateway::builder(connect().await)
        .route(Route::post("/only-post", "app"))
        .route(Route::put("/only-post", "app"))
        .build()
        .await
        .expect("a gateway");
    let response = send(&gateway, get("/elsewhere")).await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(response.header("allow"), None);

    let response = send(&gateway, get("/only-post")).await;
    assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
    let mut allowed: Vec<_> = response.header("allow").expect("Allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["POST", "PUT"]);

    for unmatched in [get("/elsewhere"), get("/only-post")] {
        let response = send(&gateway, grpc(unmatched)).await;
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.header("grpc-status"), Some("12"));
    }
}

#[tokio::test]
async fn a_layer_passes_other_requests_to_the_inner_service() {
    let (gateway, mut consumer) = pair_with(|builder| builder.route(Route::post("/local", "nobody"))).await;
    gateway.replace_routes([Route::post("/remote", consumer.app())]).expect("routes");
    let router = Router::new()
        .route("/local", on_get(|| async { "local" }))
        .route("/remote", on_get(|| async { "inner" }))
        .layer(gateway.layer());

    let call = |request| async {
        HttpResponse::of(router.clone().oneshot(with_host(request)).await.expect("infallible")).await
    };
    assert_eq!(call(get("/local")).await.body, "local");
    // Only the method does not match: the layer does not respond with 405 for the inner service.
    assert_eq!(call(get("/remote")).await.body, "inner");
    assert_eq!(call(get("/nowhere")).await.status, StatusCode::NOT_FOUND);

    let remote = async {
        consumer.request().await.ok("remote").await;
    };
    let (response, ()) = tokio::join!(call(request(Method::POST, "/remote", "")), remote);
    assert_eq!(response.body, "remote");
}

#[tokio::test]
async fn routes_can_be_replaced_while_requests_are_in_progress() {
    let (gateway, mut consumer) = pair().await;
    let before = spawn(&gateway, get("/"));
    let exchange = consumer.request().await;

    gateway.replace_routes([Route::get("/new", consumer.app())]).expect("routes");
    assert_eq!(send(&gateway, get("/")).await.status, StatusCode::NOT_FOUND);
    let after = spawn(&gateway, get("/new"));
    consumer.request().await.ok("new").await;
    assert_eq!(after.await.expect("no panic").body, "new");
    exchange.ok("old").await;
    assert_eq!(before.await.expect("no panic").body, "old");

    gateway.replace_routes([Route::get("no slash", "app")]).expect_err("an invalid route");
    let kept = spawn(&gateway, get("/new"));
    consumer.request().await.ok("kept").await;
    assert_eq!(kept.await.expect("no panic").body, "kept");
}
