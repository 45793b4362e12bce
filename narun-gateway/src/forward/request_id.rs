use http::{HeaderMap, HeaderValue};
use narun_core::ExchangeId;
use narun_core::fields::X_REQUEST_ID;

/// A longer id is replaced.
const MAX_LEN: usize = 128;

/// How to treat `X-Request-Id`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestId {
    /// Pass it on: it is one field of 1 to 128 bytes of visible ASCII.
    Keep,
    /// Add this one, because there is none.
    Add(HeaderValue),
    /// Replace it by this one, because it could do harm in logs.
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

    /// The client's id. Returns `None` if it is not passed on.
    pub(crate) fn passed_on(headers: &HeaderMap) -> Option<&HeaderValue> {
        let mut ids = headers.get_all(X_REQUEST_ID).iter();
        ids.next().filter(|id| is_valid(id.as_bytes()) && ids.next().is_none())
    }

    /// The id that replaces the client's.
    pub(crate) fn made(id: &ExchangeId) -> HeaderValue {
        // Cannot fail: an id consists of letters and digits.
        HeaderValue::try_from(id.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

fn is_valid(id: &[u8]) -> bool {
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}
