//! Dead letters: listing them, putting them back, deleting them.

use http::{Request, StatusCode};
use narun_consumer::{Body, DeadLetterError};
use narun_core::frame::OutcomeRef;
use narun_nats::jetstream::OutcomeState;
use tracing::Level;

use super::{Handler, World, new_head, start};
use crate::harness::eventually;
use crate::observed::logs;

#[tokio::test]
async fn the_list_is_empty_without_a_stream() {
    let world = World::new().await;
    let dead = world.dead_letters();
    assert!(dead.list(None, 0, 10).await.expect("a list").is_empty());
    assert!(dead.list(Some("no app's name"), 0, 10).await.expect("a list").is_empty());
    assert!(matches!(dead.put_back(1).await, Err(DeadLetterError::NotFound)));
    assert!(matches!(dead.delete(1).await, Err(DeadLetterError::NotFound)));
}

#[tokio::test]
async fn dead_letters_are_listed_in_pages_and_deleted() {
    let world = World::new().await;
    for number in 0..5 {
        world.publish(&number.to_string(), "junk".into(), &[]).await;
    }
    start(world.serve(Handler::default()).await).await;
    assert_eq!(world.dead().await.len(), 5);
    let dead = world.dead_letters();
    let app = Some(world.app.as_str());
    let first = dead.list(app, 0, 3).await.expect("a list");
    assert_eq!(first.iter().map(|letter| letter.sequence()).collect::<Vec<_>>(), [1, 2, 3]);
    let rest = dead.list(None, first[2].sequence() + 1, 3).await.expect("a list");
    assert_eq!(rest.iter().map(|letter| letter.sequence()).collect::<Vec<_>>(), [4, 5]);
    assert!(dead.list(app, 6, 3).await.expect("a list").is_empty());
    assert!(dead.list(Some("another"), 0, 3).await.expect("a list").is_empty());

    assert!(matches!(dead.put_back(4).await, Err(DeadLetterError::Unreadable(_))));
    dead.delete(4).await.expect("a dead letter deleted");
    assert!(matches!(dead.delete(4).await, Err(DeadLetterError::NotFound)));
    assert_eq!(dead.list(app, 3, 3).await.expect("a list").len(), 2);
}

#[tokio::test]
async fn a_dead_letter_that_is_put_back_is_handled_again() {
    let world = World::new().await;
    let failing = start(world.serve(Handler::default()).await.max_deliveries(1)).await;
    let mut head = new_head();
    let outcome = OutcomeRef { bucket: world.namespace.outcomes_bucket(), digest: [1; 32], scope: None };
    head.outcome = Some(Box::new(outcome));
    let mut asked = world.send(head, "/error-once", &[]).await;
    assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let dead = world.dead().await;
    failing.abort();
    let _ = failing.await;

    let letters = world.dead_letters();
    letters.put_back(dead[0].sequence()).await.expect("put back");
    assert!(letters.list(None, 0, 10).await.expect("a list").is_empty());
    assert_eq!(world.kept().await, 1);
    let outcomes = world.tasks.outcomes().await.expect("a bucket");
    let state = async || outcomes.get(asked.id).await.expect("a look").map(|kept| kept.outcome.state);
    assert!(matches!(state().await, Some(OutcomeState::Pending { .. })));

    let fixed = tower::service_fn(async |_: Request<Body>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(Body::from("fixed")))
    });
    start(world.serve(fixed).await).await;
    world.is_done().await;
    eventually("an outcome", async || matches!(state().await, Some(OutcomeState::Done { .. }))).await;
    assert!(asked.has_no_response(), "its first answer was the last one");
}

#[tokio::test]
async fn dead_letters_are_logged_with_the_request_once_and_then_counted() {
    let (logs, world) = (logs(), World::new().await);
    start(world.serve(Handler::default()).await.max_deliveries(1)).await;
    for id in ["first", "second"] {
        let request = Request::post("/error").header("x-request-id", id).body(Body::empty());
        let mut asked = world.send_request(new_head(), request.expect("a request"), &[]).await;
        assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let (text, app) = ("the request is now a dead letter", [("app", world.app.as_str())]);
    let (level, event) = logs.event(text, &app).await;
    assert_eq!((level, &event["request_id"][..], &event["deliveries"][..]), (Level::WARN, "first", "1"));
    let (_, more) = logs.event(&format!("more of these: {text}"), &app).await;
    assert_eq!((&more["count"][..], &more["last_request_id"][..]), ("1", "second"));
    assert_eq!(more["reason"], "failed");
    assert_eq!(logs.events(text, &app).len(), 1);
}
