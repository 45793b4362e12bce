use http::{HeaderMap, HeaderName, HeaderValue};
use narun_core::ExchangeId;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A longer id is not passed on.
const MAX_LEN: usize = 128;

/// What is to be done about `X-Request-Id`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestId {
    /// It is passed on as it came: one, of 1 to 128 bytes of visible ASCII.
    Keep,
    /// There is none: this one is added.
    Add(HeaderValue),
    /// It could do harm in logs: this one takes its place.
    Replace(HeaderValue),
}

impl RequestId {
    pub(super) fn new(headers: &HeaderMap, id: &ExchangeId) -> Self {
        let mut ids = headers.get_all(X_REQUEST_ID).iter();
        match (ids.next(), ids.next()) {
            (Some(id), None) if is_good(id.as_bytes()) => Self::Keep,
            (None, _) => Self::Add(to_value(id)),
            _ => Self::Replace(to_value(id)),
        }
    }
}

fn is_good(id: &[u8]) -> bool {
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn to_value(id: &ExchangeId) -> HeaderValue {
    // An id is letters and digits, so this does not fail.
    HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}
