//! A decoded RESPONSE is within the limits, however tight, and has no hop-by-hop field.

use bytes::Bytes;
use narun_core::Limits;
use narun_core::fields::{is_forbidden_in_trailers, is_hop_by_hop};
use narun_core::frame::ResponseFrame;

use crate::take;

/// The first 3 bytes of the input are the limits, the others the payload.
pub fn check(mut input: &[u8]) {
    let (head, fields) = (u16::from_le_bytes(take(&mut input)), take::<1>(&mut input));
    let mut limits = Limits::default();
    (limits.head, limits.fields) = (head.into(), fields[0].into());
    let payload = Bytes::copy_from_slice(input);
    let Ok(frame) = ResponseFrame::decode(&payload, &limits) else { return };
    let ResponseFrame { head, parts, body, trailers } = &frame;
    assert!(parts.headers.len() <= limits.fields);
    assert!(!parts.headers.keys().any(is_hop_by_hop));
    assert!(!parts.status.is_informational());
    assert!(head.instance.as_ref().is_none_or(|instance| instance.len() <= 256));
    assert!(payload.ends_with(body));
    assert!(payload.len() - body.len() <= limits.head + 9);
    if let Some(trailers) = trailers {
        assert!(head.end && !trailers.is_empty() && trailers.len() <= limits.fields);
        assert!(!trailers.keys().any(is_forbidden_in_trailers));
    }
}
