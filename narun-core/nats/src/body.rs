//! Bodies as they are collected and joined.

mod collect;
mod joined;

use http::{Method, StatusCode};

pub use collect::{Collect, CollectError};
pub use joined::Joined;

/// Whether the response to such a request has content (RFC 9110 6.4.1).
pub fn has_content(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
