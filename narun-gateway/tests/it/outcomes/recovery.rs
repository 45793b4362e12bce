//! Gateways that died between two steps. The tests create their state.

use std::time::Duration;

use async_nats::connection;
use http::StatusCode;
use narun_nats::jetstream::{OutcomeState, StoredOutcome};

use super::site::{Site, keyed, located, plain, route, settings, with};
use crate::harness::{SERVER, eventually, send, spawn};
use crate::proxy::Proxy;

#[tokio::test]
async fn the_next_gateway_publishes_a_request_that_was_never_published() {
    let site = Site::new().await;
    site.leave_record("k", &plain("/", "content")).await;
    let gateway = site.gateway().await;
    let response = spawn(&gateway, keyed("k", "/", "content"));
    let job = site.consumer().await.job().await;
    assert_eq!(job.id(), site.id("k", None).await);
    assert_eq!(job.request.head.attempt, 1, "consumers look at the record before they run it");
    assert!(job.request.head.outcome.is_some());
    job.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
    assert_eq!(site.accepted().await, 1);
}

#[tokio::test]
async fn a_published_request_is_not_stored_again() {
    let site = Site::new().await;
    site.leave_record("k", &plain("/", "content")).await;
    site.leave_message("k", plain("/", "content")).await;
    let gateway = site.gateway().await;
    let response = spawn(&gateway, keyed("k", "/", "content"));
    // The stream reports a duplicate.
    let id = site.id("k", None).await;
    let published = OutcomeState::Pending { published: true };
    eventually("a request marked as published", async || {
        site.kept(id).await.is_some_and(|kept| kept.outcome.state == published)
    })
    .await;
    let job = site.consumer().await.job().await;
    assert_eq!((job.id(), job.inbox.as_ref()), (id, None));
    job.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done", "read from the record");
    assert_eq!(site.accepted().await, 1);
}

#[tokio::test]
async fn a_response_that_was_lost_with_the_connection_is_read_from_the_record() {
    let site = Site::new().await;
    let proxy = Proxy::start(SERVER.port()).await;
    let client = proxy.connect().await;
    let gateway = site.gateway_over(client.clone()).await;
    let response = spawn(&gateway, keyed("k", "/", "content"));
    let job = site.consumer().await.job().await;
    let published = OutcomeState::Pending { published: true };
    eventually("a confirmed request", async || {
        site.kept(job.id()).await.is_some_and(|kept| kept.outcome.state == published)
    })
    .await;
    proxy.cut();
    eventually("no connection", async || client.connection_state() != connection::State::Connected).await;
    job.ok("done").await;
    proxy.mend();
    assert_eq!(response.await.expect("no panic").body, "done");
}

#[tokio::test]
async fn the_record_of_a_request_that_may_have_been_published_is_not_deleted() {
    let site = Site::with(settings().max_messages(1)).await;
    site.leave_message("other", plain("/", "fills the stream")).await;
    site.leave_record("k", &plain("/", "content")).await;
    let left = site.kept(site.id("k", None).await).await.expect("a record");
    let gateway = site.gateway().await;
    assert_eq!(send(&gateway, keyed("k", "/", "content")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    // The other gateway's request may be in the stream, whatever the refusal of this one says.
    assert_eq!(send(&gateway, keyed("k", "/", "other")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let kept = site.kept(site.id("k", None).await).await.expect("a record");
    assert_eq!((kept.outcome, kept.revision), (left.outcome, left.revision));
}

#[tokio::test]
async fn waiting_for_another_gateways_request_times_out() {
    let site = Site::new().await;
    site.leave_record("k", &plain("/", "content")).await;
    site.leave_message("k", plain("/", "content")).await;
    let gateway = site.gateway_with(|builder| builder.route(route().timeout(Duration::from_secs(1)))).await;
    let response = send(&gateway, keyed("k", "/", "content")).await;
    assert_eq!((response.status, located(&response)), (StatusCode::CONFLICT, site.id("k", None).await));
    let later = send(&gateway, with(keyed("k", "/", "content"), "prefer", "respond-async")).await;
    assert_eq!(later.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn after_the_duplicate_window_one_gateway_takes_the_request_over() {
    let window = Duration::from_secs(2);
    let site = Site::with(settings().duplicate_window(window)).await;
    site.leave_record("k", &plain("/", "content")).await;
    let id = site.id("k", None).await;
    old_record(&site, "k", window / 2).await;
    let gateways = [site.gateway().await, site.gateway().await];
    let responses: Vec<_> =
        gateways.iter().map(|gateway| spawn(gateway, keyed("k", "/", "content"))).collect();
    let job = site.consumer().await.job().await;
    assert_eq!((job.id(), job.request.head.attempt), (id, 1));
    job.ok("done").await;
    for response in responses {
        assert_eq!(response.await.expect("no panic").body, "done");
    }
    assert_eq!(site.accepted().await, 1);
}

#[tokio::test]
async fn a_request_is_claimed_before_it_is_published() {
    let window = Duration::from_millis(200);
    let site = Site::with(settings().duplicate_window(window).max_messages(1)).await;
    site.leave_message("other", plain("/", "fills the stream")).await;
    site.leave_record("k", &plain("/", "content")).await;
    let left = old_record(&site, "k", window / 2).await;
    let gateway = site.gateway().await;
    assert_eq!(send(&gateway, keyed("k", "/", "content")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let claimed = site.kept(site.id("k", None).await).await.expect("a record");
    assert_eq!(claimed.outcome, left.outcome);
    assert!(claimed.revision > left.revision, "others see it as young again");
}

#[tokio::test]
async fn a_record_of_another_request_is_422_even_if_it_was_never_published() {
    let site = Site::new().await;
    site.leave_record("k", &plain("/", "content")).await;
    let gateway = site.gateway().await;
    let response = send(&gateway, keyed("k", "/", "other")).await;
    assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(site.accepted().await, 0);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_502() {
    let site = Site::new().await;
    site.outcomes().await;
    site.spoil(site.id("k", None).await).await;
    let gateway = site.gateway().await;
    assert_eq!(send(&gateway, keyed("k", "/", "content")).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(site.accepted().await, 0);
}

/// Waits until this record is older than `age`.
async fn old_record(site: &Site, key: &str, age: Duration) -> StoredOutcome {
    let id = site.id(key, None).await;
    eventually("an old record", async || site.kept(id).await.is_some_and(|kept| kept.age > age)).await;
    site.kept(id).await.expect("a record")
}
