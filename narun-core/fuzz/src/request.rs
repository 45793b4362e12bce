//! A decoded REQUEST is within the limits, however tight, and has no hop-by-hop field.

use bytes::Bytes;
use narun_core::Limits;
use narun_core::fields::{is_forbidden_in_trailers, is_hop_by_hop};
use narun_core::frame::{RequestFrame, RequestHead};

use crate::take;

/// The first 4 bytes of the input are the limits, the others the payload.
pub fn check(mut input: &[u8]) {
    let (head, fields, target) =
        (u16::from_le_bytes(take(&mut input)), take::<1>(&mut input), take::<1>(&mut input));
    let mut limits = Limits::default();
    (limits.head, limits.fields, limits.target) = (head.into(), fields[0].into(), target[0].into());
    let payload = Bytes::copy_from_slice(input);
    let Ok(frame) = RequestFrame::decode(&payload, &limits) else { return };
    let RequestFrame { parts, body, trailers, .. } = &frame;
    assert!(parts.headers.len() <= limits.fields);
    assert!(!parts.headers.keys().any(is_hop_by_hop));
    assert!(parts.uri.path_and_query().is_none_or(|target| target.as_str().len() <= limits.target));
    assert!(parts.uri.authority().is_none_or(|authority| authority.as_str().len() <= limits.target));
    assert!(payload.ends_with(body));
    assert!(payload.len() - body.len() <= limits.head + 9);
    if let Some(trailers) = trailers {
        assert!(frame.head.end && !trailers.is_empty() && trailers.len() <= limits.fields);
        assert!(!trailers.keys().any(is_forbidden_in_trailers));
    }
    if let Ok(again) = RequestHead::with_attempt(&payload, 7) {
        let again = RequestFrame::decode(&again, &Limits::default()).expect("only the attempt differs");
        let mut head = frame.head;
        head.attempt = 7;
        assert_eq!(again.head, head);
    }
}
