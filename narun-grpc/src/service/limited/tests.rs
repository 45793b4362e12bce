use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::iter;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;
use tokio::time::Instant;

use super::{Body, Frame, LimitedBody, Messages, StdError};
use crate::state::memory::{RequestBytes, RequestMemory};

const MIB: usize = 1 << 20;

type TestBody = Pin<Box<dyn Body<Data = Bytes, Error = StdError>>>;

fn message(flag: u8, length: usize) -> Bytes {
    let mut bytes = vec![flag];
    bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
    bytes.extend(vec![0xff; length]);
    bytes.into()
}

fn body(memory: &Arc<RequestMemory>, streamed: bool, frames: Vec<Bytes>) -> TestBody {
    let frames = frames.into_iter().map(|data| Ok::<_, Infallible>(Frame::data(data)));
    let due = Instant::now() + Duration::from_secs(60);
    let bytes = RequestBytes::new(memory.clone(), None);
    Box::pin(LimitedBody::new(StreamBody::new(iter(frames)), streamed, 16 * MIB, due, bytes))
}

/// Whether the next frame is within the limits.
async fn passes(body: &mut TestBody) -> bool {
    body.frame().await.unwrap().is_ok()
}

#[tokio::test]
async fn a_compressed_message_counts_as_what_it_may_become() {
    let memory = Arc::new(RequestMemory::new(20 * MIB, 20 * MIB));
    let half = message(1, 16 << 10).split_off(100);
    let whole = || body(&memory, false, vec![message(1, 16 << 10)]);
    // One that is not complete is not decompressed yet.
    let cut = vec![message(1, 16 << 10).split_to(100), half];
    let (mut first, mut second) = (body(&memory, false, cut.clone()), body(&memory, true, cut));
    assert!(passes(&mut first).await && passes(&mut second).await);
    assert!(passes(&mut first).await && !passes(&mut second).await);
    assert!(!passes(&mut whole()).await);
    drop(first);
    assert!(passes(&mut whole()).await);
    // Small ones become small ones.
    let mut small: Vec<_> = (0..10).map(|_| body(&memory, false, vec![message(1, 1 << 10)])).collect();
    for small in &mut small {
        assert!(passes(small).await);
    }
    // The next message of an upload takes the place of the one before.
    drop(small);
    let mut upload = body(&memory, true, vec![message(1, 16 << 10), message(0, 10), message(1, 16 << 10)]);
    assert!(passes(&mut upload).await && !passes(&mut whole()).await);
    assert!(passes(&mut upload).await && passes(&mut whole()).await);
    assert!(passes(&mut upload).await && !passes(&mut whole()).await);
}

proptest! {
    #[test]
    fn every_length_is_found_however_the_bytes_are_cut(
        messages in prop::collection::vec((0_u8..2, 0_usize..300), 0..10),
        cut in 1_usize..50,
    ) {
        let bytes: Vec<_> = messages.iter().map(|(flag, length)| message(*flag, *length)).collect();
        let mut found = Messages::default();
        let largest: Vec<_> = bytes.concat().chunks(cut).map(|bytes| found.read(bytes)).collect();
        let begun = largest.iter().map(|largest| largest.begun).max();
        let compressed = largest.iter().map(|largest| largest.compressed).max();
        let lengths = |least| messages.iter().filter(move |(flag, _)| *flag >= least).map(|(_, length)| *length).max();
        prop_assert_eq!(begun.unwrap_or_default(), lengths(0).unwrap_or_default());
        prop_assert_eq!(compressed.unwrap_or_default(), lengths(1).unwrap_or_default());
        prop_assert!(found.are_complete());
    }
}
