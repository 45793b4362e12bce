use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::uri::Scheme;
use http::{HeaderMap, request};

use super::{DecodeError, EncodeError};
use crate::fields::Edit;
use crate::{ExchangeId, Limits};

/// A request as it arrived: the HTTP head, the exchange's own head, and the inline body.
#[derive(Debug)]
pub struct RequestFrame {
    /// What the exchange needs to know.
    pub head: RequestHead,
    /// Method, target, version and fields as the HTTP client sent them, less the hop-by-hop fields.
    pub parts: request::Parts,
    /// The body, or its first bytes if [`RequestHead::end`] is false; a slice of the payload.
    pub body: Bytes,
    /// Trailer fields, only where [`RequestHead::end`] is true.
    pub trailers: Option<HeaderMap>,
}

/// The part of a REQUEST that is not HTTP's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Protocol version. Default [`super::VERSION`].
    pub version: u16,
    /// Feature bits, none defined yet. Default 0.
    pub features: u64,
    /// The identity of the exchange, the same in every attempt.
    pub id: ExchangeId,
    /// The number of this attempt, from 0.
    pub attempt: u8,
    /// Scheme of the HTTP request as the client used it. Default `http`.
    pub scheme: Scheme,
    /// The HTTP client's address.
    pub peer: Option<SocketAddr>,
    /// Until the response head must be there, counted from receipt; milliseconds on the wire. Default none.
    pub head_timeout: Option<Duration>,
    /// Until everything must be over, counted from receipt; milliseconds on the wire. Default none.
    pub total_timeout: Option<Duration>,
    /// Offset up to which the response's body may be sent. Default 0.
    pub credit: u64,
    /// The largest payload that the gateway's server takes. Default 0: not known.
    pub max_payload: u64,
    /// Whether the whole body is in this frame. Default false.
    pub end: bool,
}

impl RequestHead {
    /// The head of a first attempt with nothing but its id: no time limits, no credit, and an inline body.
    pub fn new(id: ExchangeId) -> Self {
        Self {
            version: super::VERSION,
            features: 0,
            id,
            attempt: 0,
            scheme: Scheme::HTTP,
            peer: None,
            head_timeout: None,
            total_timeout: None,
            credit: 0,
            max_payload: 0,
            end: true,
        }
    }

    /// Encodes a REQUEST straight from the parts of an HTTP request; hop-by-hop fields are left out.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the request is over `limits` (all but [`Limits::frame`], which is the caller's to weigh).
    pub fn encode(
        &self,
        parts: &request::Parts,
        edit: Edit<'_>,
        body: impl Buf,
        trailers: Option<&HeaderMap>,
        limits: &Limits,
    ) -> Result<Bytes, EncodeError> {
        let _ = (parts, edit, body, trailers, limits);
        unimplemented!()
    }

    /// The same REQUEST as another attempt.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if `frame` is no REQUEST that [`RequestHead::encode`] made.
    pub fn with_attempt(frame: &Bytes, attempt: u8) -> Result<Bytes, DecodeError> {
        let _ = (frame, attempt);
        unimplemented!()
    }
}

impl RequestFrame {
    /// Decodes a REQUEST.
    ///
    /// # Errors
    ///
    /// As [`super::Frame::decode`], and if it is another frame.
    pub fn decode(payload: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let _ = (payload, limits);
        unimplemented!()
    }
}
