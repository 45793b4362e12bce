use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use narun_core::frame::ResponseFrame;
use narun_core::{Body, ExchangeId, Failure, FailureKind, Limits};

use super::StatusPaths;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Keeps caches from storing a response: it is for one caller, and outcomes expire.
pub(super) fn not_cached(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// The 202 to a request. `preferred` if the client asked for it.
pub(crate) fn accepted(paths: &StatusPaths, id: &ExchangeId, preferred: bool) -> Response<Body> {
    let mut response = unfinished(id);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, paths.location(id));
    if preferred {
        headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    }
    response
}

/// The status of a request that is not done.
pub(super) fn pending(id: &ExchangeId) -> Response<Body> {
    let mut response = unfinished(id);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The response in a stored RESPONSE frame, with `Cache-Control: no-store` in place of the handler's.
///
/// # Errors
///
/// [`FailureKind::BadResponse`] if the frame is invalid or not the whole response.
pub(crate) fn stored(frame: &Bytes, limits: &Limits) -> Result<Response<Body>, Failure> {
    let bad = |why: String| Failure::new(FailureKind::BadResponse).with_cause(why);
    let frame = ResponseFrame::decode(frame, &limits.stored()).map_err(|error| bad(error.to_string()))?;
    if !frame.head.end {
        return Err(bad("the stored response is not complete".to_owned()));
    }
    let ResponseFrame { mut parts, body, trailers, .. } = frame;
    not_cached(&mut parts.headers);
    Ok(Response::from_parts(parts, Body::from(body).with_trailers(trailers)))
}

/// The response to HEAD if this is the response to GET.
pub(super) fn without_content(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let length = body.size_hint().exact().filter(|length| *length > 0);
    if let Some(length) = length
        && !parts.headers.contains_key(header::CONTENT_LENGTH)
    {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty())
}

fn unfinished(id: &ExchangeId) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{{\"id\":\"{id}\",\"status\":\"pending\"}}\n")));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    not_cached(headers);
    response
}
