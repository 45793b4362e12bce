//! Bodies: collected, taken in parts, cut to fit a frame, measured in bytes and time.

mod collect;
mod content_length;
mod fit;
mod measured;
mod prefix;
mod rate;
mod segments;

use http::{HeaderMap, Method, StatusCode, header};

pub use collect::{Collect, CollectError};
pub use content_length::{InvalidContentLength, content_length};
pub use fit::{Fitted, fit};
pub use measured::Measured;
pub use prefix::{BodyPart, BodyPrefix, Prefix};
pub use rate::LeastRate;
pub use segments::Segments;

/// Whether the response to a request with this method has content (RFC 9110, 6.4.1 and 15.3.6).
pub fn has_content(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Removes the `Content-Length` of a response whose status allows no content and no statement of its length: 204 and 205
/// (RFC 9110, 8.6 and 15.3.6).
pub fn remove_length(status: StatusCode, fields: &mut HeaderMap) {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        fields.remove(header::CONTENT_LENGTH);
    }
}
