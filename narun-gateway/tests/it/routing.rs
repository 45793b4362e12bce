//! What matches a route, and what does not.

use axum::Router;
use axum::routing::get as on_get;
use http::{Method, StatusCode};
use narun_gateway::Route;
use tower::ServiceExt;

use crate::harness::{Answer, connect, get, grpc, pair, pair_with, request, send, spawn};

#[tokio::test]
async fn a_match_goes_to_the_app_and_its_answer_comes_back() {
    let (gateway, mut consumer) = pair().await;
    let answer = spawn(&gateway, request(Method::POST, "/hello?a=b", "who"));
    let exchange = consumer.request().await;
    assert_eq!(exchange.request.parts.method, Method::POST);
    assert_eq!(exchange.request.parts.uri, "/hello?a=b");
    assert_eq!(exchange.request.body, "who");
    assert!(exchange.request.head.end);
    exchange.ok("you").await;
    let answer = answer.await.expect("no panic");
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, "you");
}

#[tokio::test]
async fn alone_what_does_not_match_is_404_or_405() {
    let gateway = narun_gateway::Gateway::builder(connect().await)
        .route(Route::post("/only-post", "app"))
        .route(Route::put("/only-post", "app"))
        .build()
        .await
        .expect("a gateway");
    let answer = send(&gateway, get("/elsewhere")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("allow"), None);

    let answer = send(&gateway, get("/only-post")).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    let mut allowed: Vec<_> = answer.header("allow").expect("Allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["POST", "PUT"]);

    for unmatched in [get("/elsewhere"), get("/only-post")] {
        let answer = send(&gateway, grpc(unmatched)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("grpc-status"), Some("12"));
    }
}

#[tokio::test]
async fn as_a_layer_what_does_not_match_falls_through() {
    let (gateway, mut consumer) = pair_with(|builder| builder.route(Route::post("/local", "nobody"))).await;
    gateway.replace_routes([Route::post("/remote", consumer.app())]).expect("routes");
    let router = Router::new()
        .route("/local", on_get(|| async { "local" }))
        .route("/remote", on_get(|| async { "inner" }))
        .layer(gateway.layer());

    let call =
        |request| async { Answer::of(router.clone().oneshot(request).await.expect("infallible")).await };
    assert_eq!(call(get("/local")).await.body, "local");
    // The path is a route's, the method is not: the layer does not answer 405 for the app within.
    assert_eq!(call(get("/remote")).await.body, "inner");
    assert_eq!(call(get("/nowhere")).await.status, StatusCode::NOT_FOUND);

    let remote = async {
        consumer.request().await.ok("remote").await;
    };
    let (answer, ()) = tokio::join!(call(request(Method::POST, "/remote", "")), remote);
    assert_eq!(answer.body, "remote");
}

#[tokio::test]
async fn routes_are_replaced_while_requests_are_under_way() {
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
