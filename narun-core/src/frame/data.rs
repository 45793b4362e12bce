use bytes::Bytes;
use http::HeaderMap;

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// From 1, per direction, without gaps.
    pub sequence: u64,
    /// The bytes; may be empty.
    pub body: Bytes,
    /// Whether the body ends here. Default false.
    pub end: bool,
    /// Trailer fields, only where `end` is true.
    pub trailers: Option<HeaderMap>,
}

impl Data {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
}
