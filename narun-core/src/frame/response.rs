use bytes::{Buf, Bytes};
use http::{HeaderMap, response};

use super::{DecodeError, EncodeError};
use crate::Limits;
use crate::fields::Edit;

/// A response as it arrived.
#[derive(Debug)]
pub struct ResponseFrame {
    /// What the exchange needs to know.
    pub head: ResponseHead,
    /// Status and fields as the handler gave them, less the hop-by-hop fields.
    pub parts: response::Parts,
    /// The body, or its first bytes if [`ResponseHead::end`] is false; a slice of the payload.
    pub body: Bytes,
    /// Trailer fields, only where [`ResponseHead::end`] is true.
    pub trailers: Option<HeaderMap>,
}

/// The part of a RESPONSE that is not HTTP's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Protocol version. Default [`super::VERSION`].
    pub version: u16,
    /// Feature bits, none defined yet. Default 0.
    pub features: u64,
    /// A name of the process that answered. Default none.
    pub instance: Option<String>,
    /// The largest payload that the consumer's server takes. Default 0: not known.
    pub max_payload: u64,
    /// Offset up to which the request's body may be sent. Default 0.
    pub credit: u64,
    /// Whether the whole body is in this frame. Default false.
    pub end: bool,
}

impl ResponseHead {
    /// The head of a response whose body is inline.
    pub const fn new() -> Self {
        Self { version: super::VERSION, features: 0, instance: None, max_payload: 0, credit: 0, end: true }
    }

    /// Encodes a RESPONSE straight from the parts of an HTTP response; hop-by-hop fields are left out.
    ///
    /// # Errors
    ///
    /// As [`super::RequestHead::encode`].
    pub fn encode(
        &self,
        parts: &response::Parts,
        edit: Edit<'_>,
        body: impl Buf,
        trailers: Option<&HeaderMap>,
        limits: &Limits,
    ) -> Result<Bytes, EncodeError> {
        let _ = (parts, edit, body, trailers, limits);
        unimplemented!()
    }
}

impl Default for ResponseHead {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseFrame {
    /// Decodes a RESPONSE.
    ///
    /// # Errors
    ///
    /// As [`super::Frame::decode`], and if it is another frame.
    pub fn decode(payload: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let _ = (payload, limits);
        unimplemented!()
    }
}
