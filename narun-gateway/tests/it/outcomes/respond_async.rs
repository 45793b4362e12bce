//! Responses that come later.

use std::time::Duration;

use http::{Response, StatusCode};
use narun_gateway::{Body, GatewayBuilder, Route};
use narun_nats::jetstream::OutcomeState;

use super::site::{Site, later, located, plain, route, with};
use crate::harness::{eventually, get, grpc, new_app, open_tokens, send, spawn};

#[tokio::test]
async fn respond_async_is_202_with_the_location_of_the_response() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let response = send(&gateway, later("Respond-Async; x=\"y\", handling=lenient")).await;
    assert_eq!(response.status, StatusCode::ACCEPTED);
    assert_eq!(response.header("preference-applied"), Some("respond-async"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    let id = located(&response);
    assert_eq!(response.body, format!("{{\"id\":\"{id}\",\"status\":\"pending\"}}\n"));
    assert_eq!(site.accepted().await, 1);
    assert!(matches!(site.kept(id).await.expect("a record").outcome.state, OutcomeState::Pending { .. }));

    let place = response.header("location").expect("a location").to_owned();
    let pending = send(&gateway, get(&place)).await;
    assert_eq!((pending.status, pending.header("retry-after")), (StatusCode::ACCEPTED, Some("1")));
    assert_eq!(pending.body, response.body);

    let job = site.consumer().await.job().await;
    assert_eq!((job.id(), job.inbox.as_ref(), &job.request.body[..]), (id, None, &b"content"[..]));
    let mut response = Response::new(Body::from("made"));
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert("etag", http::HeaderValue::from_static("\"1\""));
    job.done(response).await;

    // From any gateway, any number of times.
    for gateway in [&gateway, &site.gateway().await] {
        let done = send(gateway, get(&place)).await;
        assert_eq!((done.status, done.header("etag")), (StatusCode::CREATED, Some("\"1\"")));
        assert_eq!(done.body, "made");
    }
    assert_eq!(open_tokens(&gateway), 0);
}

#[tokio::test]
async fn a_response_within_the_wait_is_returned() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let mut consumer = site.consumer().await;
    let response = spawn(&gateway, later("respond-async, wait=10"));
    let job = consumer.job().await;
    assert!(job.inbox.is_some(), "the response is waited for");
    job.ok("in time").await;
    let response = response.await.expect("no panic");
    assert_eq!((response.status, &response.body[..]), (StatusCode::OK, &b"in time"[..]));
    assert_eq!(response.header("preference-applied"), None);
}

#[tokio::test]
async fn the_wait_ends_with_202_not_504() {
    let site = Site::new().await;
    let gateway = site.gateway_with(|builder| builder.route(route().timeout(Duration::from_secs(1)))).await;
    let mut consumer = site.consumer().await;
    // Longer than the timeout, which limits the wait.
    let response = send(&gateway, later("respond-async, wait=100")).await;
    assert_eq!(response.status, StatusCode::ACCEPTED);
    consumer.job().await.ok("late").await;
    let done = send(&gateway, get(response.header("location").expect("a location"))).await;
    assert_eq!(done.body, "late");
}

#[tokio::test]
async fn a_route_may_always_respond_with_202() {
    let site = Site::new().await;
    let gateway = site.gateway_with(|builder| builder.route(route().respond_async())).await;
    let response = send(&gateway, plain("/", "content").map(Body::from)).await;
    assert_eq!((response.status, response.header("preference-applied")), (StatusCode::ACCEPTED, None));
    let asked = send(&gateway, later("respond-async")).await;
    assert_eq!(asked.header("preference-applied"), Some("respond-async"));
    assert_ne!(located(&response), located(&asked));

    let mut consumer = site.consumer().await;
    consumer.job().await.ok("").await;
    consumer.job().await.ok("").await;
    let waited = spawn(&gateway, with(plain("/", "").map(Body::from), "prefer", "wait=10"));
    consumer.job().await.ok("waited for").await;
    assert_eq!(waited.await.expect("no panic").body, "waited for");
}

#[tokio::test]
async fn a_late_response_is_504_with_location_if_its_outcome_is_stored() {
    let site = Site::new().await;
    let gateway = site.gateway_with(|builder| builder.route(route().timeout(Duration::from_secs(1)))).await;
    let plain = || plain("/", "content").map(Body::from);
    let response = send(&gateway, plain()).await;
    assert_eq!((response.status, response.header("location")), (StatusCode::GATEWAY_TIMEOUT, None));

    for (request, status) in [(plain(), StatusCode::GATEWAY_TIMEOUT), (grpc(plain()), StatusCode::OK)] {
        let key = status.as_str().to_owned();
        let response = send(&gateway, with(request, "idempotency-key", &key)).await;
        assert_eq!(response.status, status);
        assert_eq!(located(&response), site.id(&key, None).await);
    }
}

#[tokio::test]
async fn a_timeout_may_be_of_any_length() {
    let site = Site::new().await;
    let routes = |builder: GatewayBuilder| {
        builder.timeout(Duration::MAX).route(route()).route(Route::get("/direct", new_app()))
    };
    let gateway = site.gateway_with(routes).await;
    let mut consumer = site.consumer().await;
    let response = spawn(&gateway, later("respond-async, wait=99999999999999999999"));
    consumer.job().await.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
    let accepted = send(&gateway, later("respond-async, wait=0")).await;
    let pending = send(&gateway, get(accepted.header("location").expect("a location"))).await;
    assert_eq!(pending.status, StatusCode::ACCEPTED);
    assert_eq!(send(&gateway, get("/direct")).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_deleted_bucket_is_declared_anew() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    send(&gateway, later("respond-async")).await;
    site.delete_outcomes().await;
    eventually("a new bucket", async || {
        send(&gateway, later("respond-async")).await.status == StatusCode::ACCEPTED
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_leaves_no_record() {
    let site = Site::with(super::site::settings().max_messages(1)).await;
    let gateway = site.gateway().await;
    send(&gateway, later("respond-async")).await;
    let full = send(&gateway, later("respond-async")).await;
    assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(full.header("location"), None);
    eventually("one record", async || site.records().await == 1).await;
}
