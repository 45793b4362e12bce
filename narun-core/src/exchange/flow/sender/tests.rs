use http::{HeaderName, HeaderValue};

use super::*;
use crate::Limits;
use crate::frame::Frame;

const CHUNK: usize = 16 * 1024;

fn sender(inline: u64, credit: u64) -> Sender {
    Sender::new(&FlowConfig { window: 4 * CHUNK as u64, ..FlowConfig::default() }, inline, credit)
}

fn sent(sender: &mut Sender) -> Option<Data> {
    let payload = sender.poll()?;
    assert!(payload.len() <= sender.frame, "{}", payload.len());
    match Frame::decode(&payload, &Limits::default()) {
        Ok(Frame::Data(data)) => Some(data),
        other => panic!("{other:?}"),
    }
}

fn trailers(length: usize) -> HeaderMap {
    let value = HeaderValue::from_str(&"x".repeat(length)).expect("valid");
    HeaderMap::from_iter([(HeaderName::from_static("x-trailer"), value)])
}

#[test]
fn bytes_are_wanted_and_sent_only_within_the_credit() {
    let mut sender = sender(100, 0);
    assert!(!sender.wants_data() && sender.is_stalled());
    assert!(!sender.credit(100));
    assert!(sender.credit(150) && sender.wants_data());
    sender.push(Bytes::from(vec![1; 80]));
    assert!(!sender.wants_data() && !sender.is_stalled());
    let data = sent(&mut sender).expect("50 bytes");
    assert_eq!((data.sequence, data.body.len(), data.end), (1, 50, false));
    assert!(sent(&mut sender).is_none() && sender.is_stalled());
    assert!(!sender.credit(120), "a smaller offset changes nothing");
    sender.credit(1000);
    assert_eq!(sent(&mut sender).map(|data| (data.sequence, data.body.len())), Some((2, 30)));
}

#[test]
fn a_frame_has_a_quarter_of_the_window_at_most() {
    let mut sender = sender(0, u64::MAX);
    sender.push(Bytes::from(vec![1; 2 * CHUNK + 1]));
    assert!(!sender.wants_data());
    let sizes: Vec<_> = std::iter::from_fn(|| sent(&mut sender)).map(|data| data.body.len()).collect();
    assert_eq!(sizes, [CHUNK, CHUNK, 1]);
    sender.limit(1000);
    sender.push(Bytes::from(vec![1; 2000]));
    assert!(sent(&mut sender).is_some_and(|data| data.body.len() > 900));
}

#[test]
fn parts_that_are_added_together_share_a_frame() {
    let mut sender = sender(0, 1000);
    for _ in 0..10 {
        assert!(sender.wants_data());
        sender.push(Bytes::from_static(b"ab"));
    }
    assert_eq!(sent(&mut sender).map(|data| data.body), Some(Bytes::from("ab".repeat(10))));
}

#[test]
fn a_corked_sender_sends_only_full_frames() {
    let mut sender = sender(0, 3 * CHUNK as u64);
    sender.cork();
    sender.push(Bytes::from(vec![1; CHUNK + 10]));
    assert_eq!(sent(&mut sender).map(|data| data.body.len()), Some(CHUNK));
    assert!(sent(&mut sender).is_none() && sender.wants_data());
    assert!(sender.uncork() && !sender.uncork());
    assert_eq!(sent(&mut sender).map(|data| data.body.len()), Some(10));
    // Without credit for more, and after the end, the rest is sent at once.
    sender.cork();
    sender.push(Bytes::from(vec![1; 2 * CHUNK]));
    let sizes: Vec<_> = std::iter::from_fn(|| sent(&mut sender)).map(|data| data.body.len()).collect();
    assert_eq!(sizes, [CHUNK, CHUNK - 10]);
    sender.credit(u64::MAX);
    assert!(sent(&mut sender).is_none());
    assert!(sender.finish(None));
    assert_eq!(sent(&mut sender).map(|data| (data.body.len(), data.end)), Some((10, true)));
}

#[test]
fn the_last_part_has_end_and_needs_no_credit_if_it_is_empty() {
    let mut whole = sender(0, 10);
    whole.push(Bytes::from_static(b"0123456789"));
    assert!(whole.finish(None));
    assert_eq!(sent(&mut whole).map(|data| (data.body.len(), data.end)), Some((10, true)));
    assert!(whole.is_over() && sent(&mut whole).is_none());

    let mut empty = sender(5, 0);
    assert!(empty.finish(Some(HeaderMap::new())));
    let data = sent(&mut empty).expect("the end");
    assert_eq!((data.sequence, data.body.len(), data.end, data.trailers), (1, 0, true, None));
}

#[test]
fn trailers_have_a_frame_of_their_own() {
    let mut sender = sender(0, 10);
    sender.push(Bytes::from_static(b"abc"));
    assert!(sender.finish(Some(trailers(5))));
    assert!(!sender.wants_data());
    assert_eq!(sent(&mut sender).map(|data| (data.body.len(), data.end)), Some((3, false)));
    assert_eq!(sent(&mut sender).map(|data| (data.end, data.trailers)), Some((true, Some(trailers(5)))));
}

#[test]
fn trailers_that_do_not_fit_a_frame_are_reported() {
    assert!(sender(0, 0).finish(Some(trailers(65_000))));
    assert!(!sender(0, 0).finish(Some(trailers(65_536))));
}

#[test]
fn nothing_is_sent_after_a_stop() {
    let mut sender = sender(0, 10);
    sender.push(Bytes::from_static(b"abc"));
    sender.stop();
    assert!(sender.is_over() && !sender.wants_data() && !sender.is_stalled());
    assert!(sent(&mut sender).is_none());
    assert!(sender.finish(None));
    assert!(sent(&mut sender).is_none());
}

#[test]
fn many_small_parts_in_a_row_wait_for_credit_or_a_full_one() {
    let mut sender = sender(0, 1_000_000);
    for _ in 0..PARTIAL_DATA {
        sender.push(Bytes::from_static(b"a"));
        assert!(sent(&mut sender).is_some());
    }
    sender.push(Bytes::from_static(b"a"));
    assert!(sent(&mut sender).is_none() && sender.is_stalled() && sender.wants_data());
    sender.push(Bytes::from(vec![1; CHUNK - 1]));
    assert_eq!(sent(&mut sender).map(|data| data.body.len()), Some(CHUNK));
    sender.push(Bytes::from_static(b"a"));
    assert!(sent(&mut sender).is_none());
    sender.credit(1_000_001);
    assert!(sent(&mut sender).is_some());
    // The end does not wait either.
    for _ in 0..PARTIAL_DATA {
        sender.push(Bytes::from_static(b"a"));
        sent(&mut sender);
    }
    sender.push(Bytes::from_static(b"a"));
    assert!(sent(&mut sender).is_none());
    sender.finish(None);
    assert!(sent(&mut sender).is_some_and(|data| data.end));
}
