//! Bodies that do not fit a message, read while their handlers read them.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use narun_consumer::Body;
use narun_core::frame::{ObjectRef, RequestHead};
use tokio::sync::Semaphore;

use super::{Handler, SentRequest, World, new_head, start};
use crate::harness::eventually;

const LENGTH: usize = 300_000;

fn body() -> Bytes {
    (0..LENGTH).map(|position| (position % 251) as u8).collect()
}

impl World {
    /// Stores a body for a request.
    async fn stored_body(&self) -> (RequestHead, ObjectRef) {
        let mut head = new_head();
        let object = self.tasks.bodies().await.expect("a bucket").put(head.id, body()).await.expect("stored");
        head.object = Some(Box::new(object.clone()));
        (head, object)
    }

    async fn send_head(&self, head: RequestHead, target: &str) -> SentRequest {
        let request = Request::post(target).body(Body::empty()).expect("a request");
        self.send_request(head, request, &[]).await
    }
}

/// What a handler has received: bytes, and whether its body failed.
type Received = Arc<Mutex<Vec<(usize, bool)>>>;

/// Reads the body a frame for each permit, and responds with 200 whatever happens.
fn reading(
    permits: &Arc<Semaphore>,
    received: &Received,
) -> impl tower::Service<
    Request<Body>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send,
> + Clone
+ Send
+ 'static {
    let (permits, received) = (permits.clone(), received.clone());
    tower::service_fn(move |request: Request<Body>| {
        let (permits, received) = (permits.clone(), received.clone());
        async move {
            let mut body = request.into_body();
            let run = {
                let mut received = received.lock().expect("no panic");
                received.push((0, false));
                received.len() - 1
            };
            loop {
                permits.acquire().await.expect("open").forget();
                let frame = body.frame().await;
                let read = &mut received.lock().expect("no panic")[run];
                match frame {
                    Some(Ok(frame)) => read.0 += frame.data_ref().map_or(0, Bytes::len),
                    Some(Err(_)) => read.1 = true,
                    None => break,
                }
            }
            Ok(Response::new(Body::from("fine")))
        }
    })
}

#[tokio::test]
async fn a_body_is_read_while_its_handler_reads_it() {
    let world = World::new().await;
    let (permits, received) = (Arc::new(Semaphore::new(1)), Received::default());
    start(world.serve(reading(&permits, &received)).await.max_deliveries(1)).await;
    let (head, object) = world.stored_body().await;
    let mut asked = world.send_head(head, "/").await;
    eventually("a chunk", async || matches!(received.lock().expect("no panic").as_slice(), [(1.., false)]))
        .await;
    // Nothing more of it was read.
    world.tasks.bodies().await.expect("a bucket").delete(&object).await.expect("deleted");
    permits.add_permits(100);
    // The handler responds with 200 all the same.
    assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let received = received.lock().expect("no panic").clone();
    assert!(matches!(received.as_slice(), [(1..LENGTH, true)]), "{received:?}");
    let dead = world.dead().await;
    assert!(dead[0].reason().contains("its body cannot be read"), "{:?}", dead[0]);
}

#[tokio::test]
async fn a_body_that_is_not_what_was_stored_fails_at_its_end() {
    let world = World::new().await;
    let (permits, received) = (Arc::new(Semaphore::new(100)), Received::default());
    start(world.serve(reading(&permits, &received)).await.max_deliveries(2)).await;
    let (mut head, object) = world.stored_body().await;
    head.object = Some(Box::new(ObjectRef { digest: [7; 32], ..object }));
    let mut asked = world.send_head(head, "/").await;
    assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let dead = world.dead().await;
    assert!(dead[0].reason().contains("not the one that was stored"), "{:?}", dead[0]);
    let received = received.lock().expect("no panic").clone();
    assert!(matches!(received.as_slice(), [(1..LENGTH, true), (1..LENGTH, true)]), "{received:?}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_dead_letter_and_413() {
    let world = World::new().await;
    let handler = Handler::default();
    let limit = LENGTH as u64;
    start(world.serve(handler.clone()).await.durable_max_body(limit)).await;
    let (head, _) = world.stored_body().await;
    assert_eq!(world.send_head(head, "/echo").await.response().await.body, body());
    let (mut head, object) = world.stored_body().await;
    // What it names is not even looked for.
    head.object = Some(Box::new(ObjectRef { size: limit + 1, name: "any".to_owned(), ..object }));
    let mut asked = world.send_head(head, "/echo").await;
    assert_eq!(asked.status().await, StatusCode::PAYLOAD_TOO_LARGE);
    let dead = world.dead().await;
    let expected = format!("its body has {} bytes, and the consumer's limit is {limit}", limit + 1);
    assert_eq!((dead[0].reason(), dead[0].deliveries()), (&*expected, 1));
    assert_eq!(handler.runs(), 1);
}

#[tokio::test]
async fn a_body_in_a_bucket_of_another_namespace_is_not_read() {
    let (world, other) = (World::new().await, World::new().await);
    let handler = Handler::default();
    start(world.serve(handler.clone()).await).await;
    let (head, object) = other.stored_body().await;
    assert_eq!(world.send_head(head, "/echo").await.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let dead = world.dead().await;
    assert!(dead[0].reason().contains("another namespace"), "{:?}", dead[0]);
    world.dead_letters().delete(dead[0].sequence()).await.expect("deleted");
    assert_eq!(handler.runs(), 0);
    assert_eq!(other.tasks.bodies().await.expect("a bucket").get(&object).await, Ok(body()));
}

#[tokio::test]
async fn a_body_with_trailers_ends_with_them() {
    let world = World::new().await;
    start(world.serve(Handler::default()).await).await;
    let (head, _) = world.stored_body().await;
    let trailers = http::HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
    let request =
        Request::post("/echo").body(Body::empty().with_trailers(Some(trailers))).expect("a request");
    let response = world.send_request(head, request, &[]).await.response().await;
    assert_eq!(response.body, body());
    assert_eq!(response.trailers.expect("trailers")["etag"], "x");
}
