//! HTTP fields on their way through a gateway: which never cross, which are added.

use http::{HeaderName, HeaderValue};

/// `x-request-id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Changes to a message's fields made while they are encoded, so that the field map itself stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edit<'a> {
    /// Fields left out, besides the hop-by-hop ones, which never cross.
    pub without: &'a [HeaderName],
    /// Fields put after the others.
    pub with: &'a [(HeaderName, HeaderValue)],
}
