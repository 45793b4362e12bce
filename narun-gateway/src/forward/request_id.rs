//! `X-Request-Id`: the client's if it is valid, or else an id that is made here. Requests and responses have it.

use std::io::Write;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use narun_core::fields::{X_REQUEST_ID, is_same_name};
use narun_core::{ExchangeId, FailureContext};

/// A longer id is replaced.
const MAX_LEN: usize = 128;

/// The id of a request with these fields: the client's if it is passed on, or else this one.
pub(crate) fn of_request(headers: &HeaderMap, id: &ExchangeId) -> HeaderValue {
    passed_on(headers).cloned().unwrap_or_else(|| made(id))
}

/// The client's id: one field of 1 to 128 bytes of visible ASCII. Returns `None` if it is not passed on, since it could do
/// harm in logs.
pub(super) fn passed_on(headers: &HeaderMap) -> Option<&HeaderValue> {
    let id = headers.get(X_REQUEST_ID).filter(|id| is_valid(id.as_bytes()))?;
    // The app could take the value of a field with underscores in its name for the id.
    let mut same = headers.iter().filter(|(name, _)| is_same_name(name, &X_REQUEST_ID));
    (same.nth(1).is_none()).then_some(id)
}

/// What the failure of a request that matches no route depends on.
pub(crate) fn unrouted_context(method: &Method, headers: &HeaderMap) -> FailureContext {
    let id = of_request(headers, &ExchangeId::from_bytes(rand::random()));
    FailureContext::new(method.clone(), Some(id), FailureContext::is_grpc(headers))
}

/// Adds the request's id to its response, unless the response has one.
pub(crate) fn complete<B>(response: &mut Response<B>, id: Option<&HeaderValue>) {
    if let Some(id) = id {
        response.headers_mut().entry(X_REQUEST_ID).or_insert_with(|| id.clone());
    }
}

/// Clones of it do not allocate.
fn made(id: &ExchangeId) -> HeaderValue {
    let mut text = [0; 26];
    // Neither can fail: an id is 26 letters and digits.
    let _ = write!(&mut text[..], "{id}");
    HeaderValue::from_maybe_shared(Bytes::from_owner(text)).unwrap_or(HeaderValue::from_static("-"))
}

fn is_valid(id: &[u8]) -> bool {
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}
