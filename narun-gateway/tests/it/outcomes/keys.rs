//! Requests with an `Idempotency-Key`.

use std::time::Duration;

use http::StatusCode;
use http::request::Parts;
use narun_gateway::Body;
use narun_nats::jetstream::{OutcomeState, caller_scope};

use super::site::{Site, keyed, located, plain, route, settings, with};
use crate::harness::{eventually, get, pair, send, spawn};

#[tokio::test]
async fn a_repeated_request_gets_the_stored_response() {
    let site = Site::new().await;
    let (first, second) = (site.gateway().await, site.gateway().await);
    let mut consumer = site.consumer().await;
    let response = spawn(&first, keyed("k", "/a?b", "content"));
    let job = consumer.job().await;
    assert_eq!((job.id(), job.request.head.attempt), (site.id("k", None).await, 0));
    job.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
    for gateway in [&first, &second] {
        let again = send(gateway, keyed("k", "/a?b", "content")).await;
        assert_eq!((again.status, &again.body[..]), (StatusCode::OK, &b"done"[..]));
    }
    assert_eq!(site.accepted().await, 1);
    // The status resource has it too.
    let status = send(&second, get(&format!("/.narun/requests/{}", site.id("k", None).await))).await;
    assert_eq!(status.body, "done");
}

#[tokio::test]
async fn another_request_with_the_same_key_is_422() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let response = spawn(&gateway, keyed("k", "/a", "content"));
    let job = site.consumer().await.job().await;
    for other in [keyed("k", "/a", "other"), keyed("k", "/a?b", "content")] {
        let response = send(&gateway, other).await;
        assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let mut method = keyed("k", "/a", "content");
    *method.method_mut() = http::Method::PUT;
    assert_eq!(send(&gateway, method).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    job.ok("").await;
    response.await.expect("no panic");
    assert_eq!(site.accepted().await, 1);
}

#[tokio::test]
async fn a_repeated_request_waits_until_the_first_is_done() {
    let site = Site::new().await;
    let (first, second) = (site.gateway().await, site.gateway().await);
    let mut consumer = site.consumer().await;
    let response = spawn(&first, keyed("k", "/", "content"));
    let job = consumer.job().await;
    published(&site, "k").await;
    let again = spawn(&second, keyed("k", "/", "content"));
    job.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
    assert_eq!(again.await.expect("no panic").body, "done");
    assert_eq!(site.accepted().await, 1);
}

#[tokio::test]
async fn a_repeated_request_that_waits_too_long_is_409_with_location() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let hasty = site.gateway_with(|builder| builder.route(route().timeout(Duration::from_secs(1)))).await;
    let response = spawn(&gateway, keyed("k", "/", "content"));
    let job = site.consumer().await.job().await;
    published(&site, "k").await;
    let conflict = send(&hasty, keyed("k", "/", "content")).await;
    assert_eq!(conflict.status, StatusCode::CONFLICT);
    assert_eq!(located(&conflict), site.id("k", None).await);
    assert!(String::from_utf8_lossy(&conflict.body).contains(&job.id().to_string()));

    // A client that prefers it gets the location without waiting.
    let later = send(&gateway, with(keyed("k", "/", "content"), "prefer", "respond-async")).await;
    assert_eq!((later.status, located(&later)), (StatusCode::ACCEPTED, job.id()));
    job.ok("done").await;
    response.await.expect("no panic");
    let done = send(&hasty, with(keyed("k", "/", "content"), "prefer", "respond-async")).await;
    assert_eq!((done.status, &done.body[..]), (StatusCode::OK, &b"done"[..]));
    assert_eq!(site.accepted().await, 1);
}

#[tokio::test]
async fn one_of_many_concurrent_requests_is_accepted() {
    let site = Site::new().await;
    let gateways = [site.gateway().await, site.gateway().await, site.gateway().await];
    let mut consumer = site.consumer().await;
    let responses: Vec<_> =
        gateways.iter().cycle().take(12).map(|gateway| spawn(gateway, keyed("k", "/", "content"))).collect();
    consumer.job().await.ok("done").await;
    for response in responses {
        let response = response.await.expect("no panic");
        assert_eq!((response.status, &response.body[..]), (StatusCode::OK, &b"done"[..]));
    }
    assert_eq!(site.accepted().await, 1);
}

#[tokio::test]
async fn invalid_keys_are_400() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let several = with(keyed("a", "/", ""), "idempotency-key", "a");
    for bad in [keyed("", "/", ""), keyed(&"x".repeat(256), "/", ""), several] {
        assert_eq!(send(&gateway, bad).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(site.accepted().await, 0);

    // A direct route passes keys on to the handler.
    let (gateway, mut consumer) = pair().await;
    let response = spawn(&gateway, keyed("", "/", ""));
    let exchange = consumer.request().await;
    assert!(exchange.request.parts.headers.contains_key("idempotency-key"));
    exchange.ok("").await;
    assert_eq!(response.await.expect("no panic").status, StatusCode::OK);
}

#[tokio::test]
async fn the_same_key_of_two_callers_is_two_keys() {
    let site = Site::new().await;
    let caller = |parts: &Parts| Some(parts.headers.get("x-user")?.to_str().ok()?.to_owned());
    let gateway = site.gateway_with(|builder| builder.route(route()).caller(caller)).await;
    let mut consumer = site.consumer().await;
    for (user, body) in [("ann", "for ann"), ("bob", "for bob")] {
        let response = spawn(&gateway, with(keyed("k", "/", "content"), "x-user", user));
        let job = consumer.job().await;
        let scope = caller_scope(user);
        assert_eq!(job.id(), site.id("k", Some(&scope)).await);
        assert_eq!(job.request.head.outcome.as_ref().and_then(|outcome| outcome.scope), Some(scope));
        job.ok(body).await;
        assert_eq!(response.await.expect("no panic").body, body);
    }
    let again = send(&gateway, with(keyed("k", "/", "content"), "x-user", "ann")).await;
    assert_eq!(again.body, "for ann");
}

#[tokio::test]
async fn a_refused_request_can_be_sent_again_with_its_key() {
    let site = Site::with(settings().max_messages(1)).await;
    let gateway = site.gateway().await;
    let first = spawn(&gateway, plain("/", "fills the stream").map(Body::from));
    eventually("a full stream", async || site.accepted().await == 1).await;
    let refused = send(&gateway, keyed("k", "/", "content")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    eventually("no record", async || site.kept(site.id("k", None).await).await.is_none()).await;

    let mut consumer = site.consumer().await;
    consumer.job().await.ok("").await;
    first.await.expect("no panic");
    eventually("room in the stream", async || site.waiting().await == 0).await;
    let response = spawn(&gateway, keyed("k", "/", "content"));
    let job = consumer.job().await;
    assert_eq!(job.request.head.attempt, 0);
    job.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
}

/// Waits until the record says that the request was published.
async fn published(site: &Site, key: &str) {
    let id = site.id(key, None).await;
    let published = OutcomeState::Pending { published: true };
    eventually("a request marked as published", async || {
        site.kept(id).await.is_some_and(|kept| kept.outcome.state == published)
    })
    .await;
}
