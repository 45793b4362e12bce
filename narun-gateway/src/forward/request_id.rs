use http::{HeaderMap, HeaderValue};
use narun_core::ExchangeId;
use narun_core::fields::X_REQUEST_ID;

/// A longer id is not passed on.
const MAX_LEN: usize = 128;

/// What is to be done about `X-Request-Id`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestId {
    /// It is passed on as it came: one, of 1 to 128 bytes of visible ASCII.
    Keep,
    /// There is none: this one is added.
    Add(HeaderValue),
    /// It could do harm in logs: this one takes its place.
    Replace(HeaderValue),
}

impl RequestId {
    pub(super) fn new(headers: &HeaderMap, id: &ExchangeId) -> Self {
        if Self::passed_on(headers).is_some() {
            Self::Keep
        } else if headers.contains_key(X_REQUEST_ID) {
            Self::Replace(Self::made(id))
        } else {
            Self::Add(Self::made(id))
        }
    }

    /// The client's own id, if it is passed on.
    pub(crate) fn passed_on(headers: &HeaderMap) -> Option<&HeaderValue> {
        let mut ids = headers.get_all(X_REQUEST_ID).iter();
        ids.next().filter(|id| is_good(id.as_bytes()) && ids.next().is_none())
    }

    /// The id that is made where the client's is not passed on.
    pub(crate) fn made(id: &ExchangeId) -> HeaderValue {
        // An id is letters and digits, so this does not fail.
        HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

fn is_good(id: &[u8]) -> bool {
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}
