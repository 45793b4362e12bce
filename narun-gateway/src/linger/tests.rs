use std::convert::Infallible;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;

/// A body of these pieces, each after a pause. The receiver completes when it is dropped.
fn body(
    pieces: usize,
    length: usize,
    pause: Duration,
) -> (Pin<Box<impl http_body::Body<Data = Bytes, Error = Infallible> + Send + use<>>>, oneshot::Receiver<()>)
{
    let (dropped, is_dropped) = oneshot::channel::<()>();
    let frames = stream::iter(0..pieces).then(move |_| async move {
        tokio::time::sleep(pause).await;
        Ok(Frame::data(Bytes::from(vec![0; length])))
    });
    // The sender is dropped with the stream that owns it.
    let frames = frames.inspect(move |_| assert!(!dropped.is_closed()));
    (Box::pin(StreamBody::new(frames)), is_dropped)
}

fn with_room(settings: Linger) -> Lingering {
    Lingering::new(settings, BodyBudget::new(1 << 20))
}

async fn seconds_until_dropped(lingering: &Lingering, pieces: usize, length: usize, pause: u64) -> u64 {
    let (body, dropped) = body(pieces, length, Duration::from_secs(pause));
    let began = Instant::now();
    lingering.read(body);
    dropped.await.expect_err("the sender is only dropped");
    began.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_to_its_end_within_the_limits() {
    let lingering = with_room(Linger::new());
    assert_eq!(seconds_until_dropped(&lingering, 7, 1 << 20, 4).await, 28);
    assert_eq!(seconds_until_dropped(&lingering, 100, 1000, 4).await, 30, "the time is over");
    assert_eq!(seconds_until_dropped(&lingering, 100, 1000, 6).await, 5, "the pause is too long");
    assert_eq!(seconds_until_dropped(&lingering, 100, 20 << 20, 1).await, 4, "these are too many bytes");
}

#[tokio::test(start_paused = true)]
async fn only_so_many_bodies_are_read_at_the_same_time() {
    let lingering = with_room(Linger::new().bodies(1));
    let (first, first_dropped) = body(1, 1, Duration::from_secs(3));
    lingering.read(first);
    assert_eq!(seconds_until_dropped(&lingering, 1, 1, 3).await, 0);
    first_dropped.await.expect_err("the sender is only dropped");
    assert_eq!(seconds_until_dropped(&lingering, 1, 1, 3).await, 3, "the place is free again");
    assert_eq!(seconds_until_dropped(&with_room(Linger::off()), 1, 1, 3).await, 0);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_read_on_take_at_most_half_of_the_budget() {
    let budget = BodyBudget::new(2 * BUFFER as u64);
    let lingering = Lingering::new(Linger::new(), budget.clone());
    let (first, first_dropped) = body(1, 1, Duration::from_secs(3));
    lingering.read(first);
    assert!(!budget.hold().try_grow(BUFFER + 1));
    assert_eq!(seconds_until_dropped(&lingering, 1, 1, 3).await, 0);
    assert!(budget.hold().try_grow(BUFFER));
    first_dropped.await.expect_err("the sender is only dropped");
    assert_eq!(seconds_until_dropped(&lingering, 1, 1, 3).await, 3);
    assert!(budget.hold().try_grow(2 * BUFFER));
}

#[tokio::test(start_paused = true)]
async fn the_end_drops_all_bodies() {
    let lingering = with_room(Linger::new());
    let (body, dropped) = body(10, 1, Duration::from_secs(3));
    lingering.read(body);
    lingering.end();
    dropped.await.expect_err("the sender is only dropped");
}
