//! Messages that are not handled: expired, unreadable, of another version, or with foreign references.

use http::StatusCode;
use narun_core::Limits;
use narun_core::frame::{ObjectRef, OutcomeRef, ResponseFrame};
use narun_nats::jetstream::{OutcomeState, header};

use super::{Handler, World, new_head, start};
use crate::harness::Metrics;

#[tokio::test]
async fn an_expired_request_is_504_and_not_handled() {
    let metrics = Metrics::install();
    let world = World::new().await;
    let mut head = new_head();
    let outcome = OutcomeRef { bucket: world.namespace.outcomes_bucket(), digest: [1; 32], scope: None };
    head.outcome = Some(Box::new(outcome));
    let mut expired = world.send(head, "/late", &[(header::EXPIRY, "0")]).await;
    let mut fresh = world.send(new_head(), "/fresh", &[(header::EXPIRY, "600000")]).await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    assert_eq!(expired.status().await, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(fresh.status().await, StatusCode::OK);
    world.is_done().await;
    assert_eq!(handler.seen(), [("/fresh".to_owned(), 1)]);
    assert_eq!(metrics.value("http_consumer_expired_total", &[("app", world.app.as_str())]), 1.0);
    let kept = world.tasks.outcomes().await.expect("a bucket").get(expired.id).await.expect("an outcome");
    let Some(OutcomeState::Done { response }) = kept.map(|kept| kept.outcome.state) else {
        panic!("not done")
    };
    let response = ResponseFrame::decode(&response, &Limits::default().stored()).expect("a RESPONSE");
    assert_eq!(response.parts.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn an_unreadable_message_becomes_a_dead_letter() {
    let metrics = Metrics::install();
    let world = World::new().await;
    world.publish("junk", "no frame".into(), &[(header::INBOX, "_INBOX.x")]).await;
    world.publish("empty", "".into(), &[]).await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    assert_eq!(world.ask("/fine").await.status().await, StatusCode::OK);
    let dead = world.dead().await;
    assert_eq!(dead.len(), 2);
    for letter in &dead {
        assert!(letter.id().is_none() && letter.request().is_none(), "{letter:?}");
        assert_eq!(letter.deliveries(), 1);
    }
    let labels = [("app", world.app.as_str()), ("reason", "unreadable")];
    assert_eq!(metrics.value("http_consumer_dead_lettered_total", &labels), 2.0);
}

#[tokio::test]
async fn an_unknown_version_becomes_a_dead_letter_in_the_last_delivery() {
    let world = World::new().await;
    // A REQUEST of version 2; the rest of its head is unknown.
    world.publish("newer", b"\x82\x01\xa1\x00\x02"[..].into(), &[]).await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await.max_deliveries(3)).await;
    world.is_done().await;
    let [letter] = &world.dead().await[..] else { panic!("not one dead letter") };
    assert_eq!(letter.deliveries(), 3);
    assert!(letter.reason().contains("version 2"), "{}", letter.reason());
    assert_eq!(handler.runs(), 0);
}

#[tokio::test]
async fn references_to_foreign_buckets_are_not_followed() {
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    let mut object = new_head();
    let bucket = "somebody-elses".to_owned();
    object.object =
        Some(Box::new(ObjectRef { bucket: bucket.clone(), name: "x".to_owned(), size: 1, digest: [0; 32] }));
    let mut outcome = new_head();
    outcome.outcome = Some(Box::new(OutcomeRef { bucket, digest: [0; 32], scope: None }));
    for head in [object, outcome] {
        let request = http::Request::post("/").body(narun_consumer::Body::empty()).expect("a request");
        let mut asked = world.send_request(head, request, &[]).await;
        assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let dead = world.dead().await;
    assert_eq!(dead.len(), 2);
    assert!(dead.iter().all(|letter| letter.reason().contains("bucket")), "{dead:?}");
    assert_eq!(handler.runs(), 0);
}
