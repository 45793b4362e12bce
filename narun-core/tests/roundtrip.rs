//! Frames of any content decode to what was encoded, and decoding arbitrary bytes does no harm.

mod describe;
mod strategy;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use narun_core::Limits;
use narun_core::fields::Edit;
use narun_core::frame::{DecodeError, Frame, RequestFrame, RequestHead, ResponseFrame};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;

use describe::{describe, encode};
use strategy::{
    any_frame, body, body_besides, request_head, request_parts, response_head, response_parts, trailers,
};

fn fields(map: &HeaderMap) -> Vec<(&HeaderName, &HeaderValue)> {
    map.iter().collect()
}

/// Returns whether the bytes lie within the payload, and so were not copied.
fn is_slice_of(part: &[u8], payload: &Bytes) -> bool {
    part.is_empty() || payload.as_ptr_range().contains(&part.as_ptr())
}

proptest! {
    #[test]
    fn requests_cross_byte_for_byte(
        (head, parts) in (request_head(), request_parts()),
        (body, trailers) in (body(), trailers()),
    ) {
        // An absolute URI has the scheme that the head names.
        let scheme = parts.uri.scheme().cloned().unwrap_or_else(|| head.scheme.clone());
        let mut head = head;
        head.scheme = scheme;
        let body = body_besides(&head, body);
        let limits = Limits::default().stored();
        let payload = head.encode(&parts, Edit::default(), &body[..], trailers.as_ref(), &limits).unwrap();
        let frame = RequestFrame::decode(&payload, &limits).unwrap();

        prop_assert_eq!(&frame.head, &head);
        prop_assert_eq!(&frame.parts.method, &parts.method);
        prop_assert_eq!(frame.parts.uri.to_string(), parts.uri.to_string());
        prop_assert_eq!(frame.parts.uri.authority(), parts.uri.authority());
        prop_assert_eq!(frame.parts.uri.scheme(), parts.uri.scheme());
        prop_assert_eq!(frame.parts.version, parts.version);
        prop_assert_eq!(fields(&frame.parts.headers), fields(&parts.headers));
        prop_assert_eq!(frame.trailers, trailers.filter(|_| head.end));
        prop_assert_eq!(&frame.body, &body);
        prop_assert!(is_slice_of(&frame.body, &payload));
        prop_assert!(frame.parts.headers.values().all(|value| is_slice_of(value.as_bytes(), &payload)));
        if frame.parts.uri.authority().is_some() {
            prop_assert!(is_slice_of(frame.parts.uri.host().unwrap().as_bytes(), &payload));
        }
    }

    #[test]
    fn responses_cross_byte_for_byte(
        (head, parts) in (response_head(), response_parts()),
        (body, trailers) in (body(), trailers()),
    ) {
        let limits = Limits::default().stored();
        let payload = head.encode(&parts, Edit::default(), &body[..], trailers.as_ref(), &limits).unwrap();
        let frame = ResponseFrame::decode(&payload, &limits).unwrap();

        prop_assert_eq!(&frame.head, &head);
        prop_assert_eq!(frame.parts.status, parts.status);
        prop_assert_eq!(fields(&frame.parts.headers), fields(&parts.headers));
        prop_assert_eq!(frame.trailers, trailers.filter(|_| head.end));
        prop_assert_eq!(&frame.body, &body);
        prop_assert!(is_slice_of(&frame.body, &payload));
    }

    #[test]
    fn attempts_differ_in_their_number_only(
        (head, parts, attempt) in (request_head(), request_parts(), any::<u8>()),
        body in body(),
    ) {
        let encode = |head: &RequestHead| {
            head.encode(&parts, Edit::default(), &body[..], None, &Limits::default().stored()).unwrap()
        };
        let again = RequestHead::with_attempt(&encode(&head), attempt).unwrap();
        let mut other = head;
        other.attempt = attempt;
        prop_assert_eq!(again, encode(&other));
    }

    #[test]
    fn frames_of_every_kind_cross(frame in any_frame()) {
        let payload = encode(&frame);
        let again = Frame::decode(&payload, &Limits::default().stored()).unwrap();
        prop_assert_eq!(describe(&again), describe(&frame));
        prop_assert_eq!(encode(&again), payload);
    }

    #[test]
    fn a_frame_that_ends_early_is_refused(frame in any_frame(), end in any::<Index>()) {
        let payload = encode(&frame);
        let cut = payload.slice(..end.index(payload.len()));
        prop_assert!(matches!(Frame::decode(&cut, &Limits::default().stored()), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..256)) {
        assert_harmless(bytes);
    }

    #[test]
    fn mutated_frames_do_no_harm(
        frame in any_frame(),
        changes in vec((any::<Index>(), change()), 1..8),
    ) {
        let mut bytes = encode(&frame).to_vec();
        for (index, change) in changes {
            let index = index.index(bytes.len());
            match change {
                Change::Set(byte) => bytes[index] = byte,
                Change::Insert(byte) => bytes.insert(index, byte),
                Change::Remove if bytes.len() > 1 => drop(bytes.remove(index)),
                Change::Remove => {}
                Change::Repeat => bytes.extend_from_within(index..),
            }
        }
        assert_harmless(bytes);
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(u8),
    Insert(u8),
    Remove,
    Repeat,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<u8>().prop_map(Change::Set),
        any::<u8>().prop_map(Change::Insert),
        Just(Change::Remove),
        Just(Change::Repeat),
    ]
}

/// Asserts that decoding neither panics nor exceeds the limits, and that a decoded frame can be encoded and decoded again.
fn assert_harmless(bytes: Vec<u8>) {
    let limits = tight();
    let payload = Bytes::from(bytes);
    let Ok(frame) = Frame::decode(&payload, &limits) else { return };
    let (fields, trailers) = match &frame {
        Frame::Request(frame) => {
            let target = frame.parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
            assert!(target <= limits.target);
            (Some(&frame.parts.headers), frame.trailers.as_ref())
        }
        Frame::Response(frame) => (Some(&frame.parts.headers), frame.trailers.as_ref()),
        Frame::Data(frame) => (None, frame.trailers.as_ref()),
        _ => (None, None),
    };
    for map in fields.into_iter().chain(trailers) {
        assert!(map.len() <= limits.fields);
        assert!(map.capacity() <= 2 * limits.fields);
    }
    let again = Frame::decode(&encode(&frame), &limits).expect("the frame is still within limits");
    assert_eq!(describe(&again), describe(&frame));
}

fn tight() -> Limits {
    let mut limits = Limits::default().stored();
    limits.fields = 16;
    limits.target = 64;
    limits
}

#[test]
fn the_largest_number_of_fields_crosses_and_one_more_does_not() {
    let limits = Limits::default().stored();
    let mut parts = Request::new(()).into_parts().0;
    for number in 0..limits.fields {
        let name = HeaderName::try_from(format!("x-{}", number % 100)).unwrap();
        parts.headers.append(name, HeaderValue::from(number));
    }
    let head = strategy::first_head();
    let payload = head.encode(&parts, Edit::default(), &b""[..], None, &limits).unwrap();
    let frame = RequestFrame::decode(&payload, &limits).unwrap();
    assert_eq!(fields(&frame.parts.headers), fields(&parts.headers));
    parts.headers.append("x-more", HeaderValue::from_static(""));
    assert!(head.encode(&parts, Edit::default(), &b""[..], None, &limits).is_err());
}

/// A decoder must not trust counts and lengths in the payload.
#[test]
fn claimed_counts_allocate_nothing() {
    let mut limits = Limits::default().stored();
    limits.fields = usize::MAX;
    for head in ["fields", "trailers"] {
        let key = if head == "fields" { 2 } else { 4 };
        for count in [0xfffe_u64, 0xffff_fffe, 0xffff_ffff_ffff_fffe] {
            let mut payload = vec![0x82, 2, 0xa1, key, 0x9b];
            payload.extend(count.to_be_bytes());
            payload.extend([0x61, b'a', 0x40]);
            let result = Frame::decode(&payload.into(), &limits);
            assert!(matches!(result, Err(DecodeError::Malformed(_))), "{head} {count}: {result:?}");
        }
    }
}

/// Another implementation may send hop-by-hop fields. The remaining fields keep their order.
#[test]
fn hop_by_hop_fields_of_a_peer_are_dropped() {
    let mut payload = vec![0x82, 2, 0xa2, 8, 0x18, 200, 2, 0x8e];
    let fields = [
        ("a", "1"),
        ("Connection", "b , ,Keep-Alive,\x00,c"),
        ("b", "2"),
        ("d", "3"),
        ("TE", "x"),
        ("B", "4"),
        ("a", "5"),
    ];
    for (name, value) in fields {
        payload.push(0x60 | u8::try_from(name.len()).unwrap());
        payload.extend(name.as_bytes());
        payload.extend([0x58, u8::try_from(value.len()).unwrap()]);
        payload.extend(value.replace('\x00', "\t").as_bytes());
    }
    let frame = ResponseFrame::decode(&payload.into(), &Limits::default().stored()).unwrap();
    let left: Vec<_> =
        frame.parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(left, [("a", &b"1"[..]), ("a", b"5"), ("d", b"3")]);
}
