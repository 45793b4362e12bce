//! Stored outcomes, and bodies that do not fit a message.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Request, Response, StatusCode};
use narun_consumer::{Body, BoxError};
use narun_core::fields::Edit;
use narun_core::frame::{ObjectRef, OutcomeRef, RequestHead, ResponseFrame, ResponseHead};
use narun_core::{ExchangeId, Limits};
use narun_nats::jetstream::{BodyStoreError, OutcomeState, StreamSettings};
use tokio::sync::oneshot;

use super::{Handler, World, new_head, start, take_and_give_back, through};
use crate::gate::Gate;
use crate::harness::{Metrics, eventually, soon};

const ACK_WAIT: Duration = Duration::from_secs(5);

impl World {
    fn outcome(&self) -> OutcomeRef {
        OutcomeRef { bucket: self.namespace.outcomes_bucket(), digest: [1; 32], scope: None }
    }

    fn head_with_outcome(&self) -> RequestHead {
        let mut head = new_head();
        head.outcome = Some(Box::new(self.outcome()));
        head
    }

    /// The stored response of a request.
    async fn done(&self, id: ExchangeId) -> Option<ResponseFrame> {
        let outcomes = self.tasks.outcomes().await.expect("a bucket");
        match outcomes.get(id).await.expect("a look")?.outcome.state {
            OutcomeState::Done { response } => {
                Some(ResponseFrame::decode(&response, &Limits::default().stored()).expect("a RESPONSE"))
            }
            OutcomeState::Pending { .. } | OutcomeState::NotKept { .. } => None,
        }
    }

    async fn put(&self, id: ExchangeId, body: Bytes) -> ObjectRef {
        self.tasks.bodies().await.expect("a bucket").put(id, body).await.expect("a body stored")
    }

    async fn has(&self, object: &ObjectRef) -> bool {
        match self.tasks.bodies().await.expect("a bucket").get(object).await {
            Ok(_) => true,
            Err(BodyStoreError::Missing) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

fn answer(body: &'static str) -> Bytes {
    answer_with(StatusCode::OK, body)
}

fn answer_with(status: StatusCode, body: &'static str) -> Bytes {
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status;
    ResponseHead::new()
        .encode(&parts, Edit::default(), body.as_bytes(), None, &Limits::default())
        .expect("a RESPONSE")
}

#[tokio::test]
async fn an_outcome_is_stored_before_the_response_is_sent() {
    let world = World::new().await;
    start(world.serve(Handler::default()).await.max_deliveries(1)).await;
    for (target, status) in [
        ("/fine", StatusCode::OK),
        ("/large", StatusCode::BAD_GATEWAY),
        ("/503", StatusCode::SERVICE_UNAVAILABLE),
        ("/panic", StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let mut asked = world.send(world.head_with_outcome(), target, &[]).await;
        let answered = asked.response().await;
        assert_eq!(answered.parts.status, status, "{target}");
        let kept = world.done(asked.id).await.expect("an outcome");
        assert_eq!((kept.parts.status, kept.body), (status, answered.body), "{target}");
    }
    world.is_done().await;
}

#[tokio::test]
async fn outcome_response_and_ack_are_sent_in_this_order() {
    let world = World::new().await;
    start(world.serve(Handler::default()).await).await;
    // The bucket exists already, so that the consumer does not declare it during the test.
    let bucket = world.tasks.outcomes().await.expect("a bucket").bucket().to_owned();
    // One subscription receives everything in the order in which the server handles it.
    let mut all = world.client.subscribe(">").await.expect("a subscription");
    let target = format!("/{}", world.app);
    let asked = world.send(world.head_with_outcome(), &target, &[]).await;
    let (outcome, confirmation) =
        (format!("$KV.{bucket}.{}", asked.id), format!("{{\"stream\":\"KV_{bucket}\""));
    let acks = format!(".{}.{}.", world.namespace, world.app);
    let mut steps = Vec::new();
    while steps.last() != Some(&"ack") {
        let message = soon("a message", all.next()).await.expect("an open subscription");
        let answered = ResponseFrame::decode(&message.payload, &Limits::default().stored());
        if message.subject.as_str() == outcome {
            steps.push("outcome");
        } else if message.payload.starts_with(confirmation.as_bytes()) {
            steps.push("confirmation");
        } else if answered.is_ok_and(|response| response.body == target) {
            steps.push("answer");
        } else if message.subject.starts_with("$JS.ACK.") && message.subject.contains(&acks) {
            steps.push("ack");
        }
    }
    assert_eq!(steps, ["outcome", "confirmation", "answer", "ack"]);
}

#[tokio::test]
async fn a_request_with_a_stored_outcome_is_not_handled() {
    let metrics = Metrics::install();
    let world = World::new().await;
    let consumer = world.consumer(Duration::from_secs(5)).await;
    let outcomes = world.tasks.outcomes().await.expect("a bucket");
    // Delivered before, to a consumer that was killed before its ack.
    let mut again = world.send(world.head_with_outcome(), "/again", &[]).await;
    outcomes.done(again.id, &world.outcome(), answer("first")).await.expect("a stored outcome");
    take_and_give_back(&consumer).await;
    // Published twice.
    let mut head = world.head_with_outcome();
    head.attempt = 1;
    outcomes.done(head.id, &world.outcome(), answer("second")).await.expect("a stored outcome");
    let mut twice = world.send(head, "/twice", &[]).await;
    // Delivered before, by a server that was killed and has forgotten it.
    let mut forgotten = world.send(world.head_with_outcome(), "/forgotten", &[]).await;
    outcomes.done(forgotten.id, &world.outcome(), answer("third")).await.expect("a stored outcome");

    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    assert_eq!(again.response().await.body, "first");
    assert_eq!(twice.response().await.body, "second");
    assert_eq!(forgotten.response().await.body, "third");
    world.is_done().await;
    assert_eq!(handler.runs(), 0);
    assert_eq!(metrics.value("http_consumer_duplicates_total", &[("app", world.app.as_str())]), 3.0);

    // A request without a stored response is handled, however often it was delivered.
    let mut head = world.head_with_outcome();
    head.attempt = 1;
    assert_eq!(world.send(head, "/fresh", &[]).await.response().await.body, "/fresh");
}

#[tokio::test]
async fn a_stored_body_is_passed_to_the_handler_and_deleted_afterwards() {
    let world = World::new().await;
    start(world.serve(Handler::default()).await).await;
    let mut head = new_head();
    let body = Bytes::from(vec![7; 300_000]);
    let object = world.put(head.id, body.clone()).await;
    head.object = Some(Box::new(object.clone()));
    let request = Request::post("/echo").body(Body::empty()).expect("a request");
    let response = world.send_request(head, request, &[]).await.response().await;
    assert!(response.body == body);
    world.is_done().await;
    eventually("a deleted body", async || !world.has(&object).await).await;
}

#[tokio::test]
async fn a_body_is_kept_until_the_ack_is_confirmed() {
    let world = World::new().await;
    let gate = Gate::new();
    // One slot: the next delivery starts after this one.
    start(world.serve(through(&gate)).await.durable_concurrency(1)).await;
    let mut head = new_head();
    let object = world.put(head.id, Bytes::from_static(b"needed")).await;
    head.object = Some(Box::new(object.clone()));
    let request = Request::post("/twice").body(Body::empty()).expect("a request");
    world.send_request(head, request, &[]).await;
    eventually("a handler", async || gate.started() == 1).await;
    // Without the consumer, nothing receives its ack.
    let stream = world.tasks.context().get_stream(world.namespace.task_stream()).await.expect("a stream");
    stream.delete_consumer(world.app.as_str()).await.expect("a consumer deleted");
    gate.open(2);
    assert!(world.dead().await.is_empty());
    assert_eq!(gate.finished(), 1, "the second delivery is acked without running again");
    eventually("a deleted body", async || !world.has(&object).await).await;
}

#[tokio::test]
async fn a_dead_letter_keeps_its_body() {
    let world = World::new().await;
    start(world.serve(Handler::default()).await.max_deliveries(2)).await;
    let mut head = new_head();
    let object = world.put(head.id, Bytes::from_static(b"kept")).await;
    head.object = Some(Box::new(object.clone()));
    let request = Request::post("/panic").body(Body::empty()).expect("a request");
    let mut asked = world.send_request(head, request, &[]).await;
    assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let dead = world.dead().await;
    assert!(world.has(&object).await);
    world.dead_letters().delete(dead[0].sequence()).await.expect("a dead letter deleted");
    assert!(!world.has(&object).await);
    assert!(world.dead().await.is_empty());
}

/// The dead letter and its outcome were stored, but not the end of the delivery: the process died, or its ack was lost.
#[tokio::test]
async fn a_dead_letter_keeps_its_body_if_its_request_is_delivered_again() {
    // What a dead letter's client gets: the request failed, or its body was over the limit.
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::PAYLOAD_TOO_LARGE] {
        let world = World::new().await;
        let consumer = world.consumer(ACK_WAIT).await;
        let outcomes = world.tasks.outcomes().await.expect("a bucket");
        let mut head = world.head_with_outcome();
        let object = world.put(head.id, Bytes::from_static(b"needed")).await;
        head.object = Some(Box::new(object.clone()));
        let request = Request::post("/").body(Body::empty()).expect("a request");
        let mut asked = world.send_request(head, request, &[]).await;
        let failed = answer_with(status, "failed");
        outcomes.done(asked.id, &world.outcome(), failed).await.expect("a stored outcome");
        take_and_give_back(&consumer).await;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = world.serve(Handler::default()).await.max_deliveries(1);
        let serve = start(serve.with_graceful_shutdown(async { drop(stopped.await) })).await;
        assert_eq!(asked.status().await, status);
        world.is_done().await;
        // A body is deleted before the consumer ends.
        drop(stop);
        soon("the consumer's end", serve).await.expect("no panic").expect("no error");
        assert!(world.has(&object).await, "{status}");
    }
}

#[tokio::test]
async fn an_outcome_that_is_pending_again_is_stored_again_before_the_ack() {
    let world = World::new().await;
    let gate = Gate::new();
    let outcomes = world.tasks.outcomes().await.expect("a bucket");
    world.tasks.declare_dead_letters().await.expect("a stream");
    world.consumer(ACK_WAIT).await;
    let serve = world.serve(through(&gate)).await.stream_settings(StreamSettings::new().declare(false));
    // One slot: the next delivery starts after this one.
    start(serve.ack_wait(ACK_WAIT).durable_concurrency(1)).await;
    let mut asked = world.send(world.head_with_outcome(), "/", &[]).await;
    eventually("a handler", async || gate.started() == 1).await;
    // Without the consumer, nothing receives its ack.
    let stream = world.tasks.context().get_stream(world.namespace.task_stream()).await.expect("a stream");
    stream.delete_consumer(world.app.as_str()).await.expect("a consumer deleted");
    gate.open(1);
    assert_eq!(asked.response().await.body, "/");
    // As if the server's storage were an earlier copy.
    outcomes.reopen(asked.id, &world.outcome()).await.expect("a pending outcome");
    world.consumer(ACK_WAIT).await;
    world.is_done().await;
    assert_eq!(world.done(asked.id).await.expect("an outcome").body, "/");
    assert_eq!(gate.started(), 1);
}

#[tokio::test]
async fn a_missing_body_does_not_replace_a_stored_outcome() {
    let world = World::new().await;
    let handler = Handler::default();
    let mut head = world.head_with_outcome();
    let object = world.put(head.id, Bytes::from_static(b"gone")).await;
    world.tasks.bodies().await.expect("a bucket").delete(&object).await.expect("a body deleted");
    head.object = Some(Box::new(object));
    let id = head.id;
    let outcomes = world.tasks.outcomes().await.expect("a bucket");
    outcomes.done(id, &world.outcome(), answer("done")).await.expect("a stored outcome");
    let request = Request::post("/echo").body(Body::empty()).expect("a request");
    start(world.serve(handler.clone()).await).await;
    let mut asked = world.send_request(head, request, &[]).await;
    assert_eq!(asked.response().await.body, "done");
    assert!(world.dead().await.is_empty());
    assert_eq!(world.done(id).await.expect("an outcome").body, "done");
    assert_eq!(handler.runs(), 0);
}

#[tokio::test]
async fn a_request_without_its_body_becomes_a_dead_letter() {
    let world = World::new().await;
    let handler = Handler::default();
    start(world.serve(handler.clone()).await.max_deliveries(2)).await;
    let mut head = new_head();
    let object = world.put(head.id, Bytes::from_static(b"gone")).await;
    world.tasks.bodies().await.expect("a bucket").delete(&object).await.expect("a body deleted");
    head.object = Some(Box::new(object));
    let request = Request::post("/echo").body(Body::empty()).expect("a request");
    let mut asked = world.send_request(head, request, &[]).await;
    assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let dead = world.dead().await;
    assert_eq!(
        dead.iter().map(|letter| letter.deliveries()).collect::<Vec<_>>(),
        [2],
        "the first may be overtaken"
    );
    assert_eq!(handler.runs(), 0);
}

#[tokio::test]
async fn a_request_done_by_another_delivery_does_not_become_a_dead_letter() {
    let world = World::new().await;
    let gate = Gate::new();
    let failing = {
        let gate = gate.clone();
        tower::service_fn(move |request: Request<Body>| {
            let gate = gate.clone();
            async move {
                gate.handle(request).await?;
                Err::<Response<Body>, _>(BoxError::from("too late"))
            }
        })
    };
    start(world.serve(failing).await.max_deliveries(1)).await;
    let mut asked = world.send(world.head_with_outcome(), "/", &[]).await;
    eventually("a handler", async || gate.started() == 1).await;
    let outcomes = world.tasks.outcomes().await.expect("a bucket");
    outcomes.done(asked.id, &world.outcome(), answer("done")).await.expect("a stored outcome");
    gate.open(1);
    assert_eq!(asked.response().await.body, "done");
    world.is_done().await;
    assert!(world.dead().await.is_empty());
}

#[tokio::test]
async fn bodies_that_nothing_refers_to_are_looked_for_each_hour_but_not_at_the_start() {
    let world = World::new().await;
    let subject = format!("$JS.API.STREAM.INFO.OBJ_{}", world.namespace.bodies_bucket());
    let mut asked = world.client.subscribe(subject).await.expect("a subscription");
    world.client.flush().await.expect("flushed");
    start(world.serve(Handler::default()).await).await;
    assert_eq!(world.ask("/").await.status().await, StatusCode::OK);
    assert!(asked.next().now_or_never().is_none());
    // Connections may be closed meanwhile: such a look is not seen.
    for _ in 0..10 {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61 * 60)).await;
        tokio::time::resume();
        if tokio::time::timeout(Duration::from_secs(2), asked.next()).await.is_ok_and(|asked| asked.is_some())
        {
            return;
        }
    }
    panic!("bodies were not looked for");
}
