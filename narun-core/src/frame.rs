//! The nine frames of the exchange protocol and their CBOR form.
//!
//! A frame is one NATS payload: the array `[kind, head]` or `[kind, head, body]`, where the head is a map with small
//! integer keys. Decoding a body or a field value takes a slice of the payload and copies nothing.

mod control;
mod data;
mod error;
mod reader;
mod request;
mod response;
mod writer;

use bytes::Bytes;

use crate::Limits;

pub(crate) use control::encode_probe;
pub use control::{Accept, Credit, Refusal, Refused, Reset, ResetCode, Working};
pub use data::Data;
pub use error::{DecodeError, EncodeError};
pub use request::{RequestFrame, RequestHead};
pub use response::{ResponseFrame, ResponseHead};

/// The version of the protocol that this crate speaks first.
pub const VERSION: u16 = 1;

/// All versions that this crate speaks, the preferred one first.
pub const VERSIONS: &[u16] = &[VERSION];

/// What a frame is, its first element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Gateway to app: an HTTP request.
    Request = 1,
    /// Consumer to gateway: the HTTP response.
    Response = 2,
    /// Consumer to gateway: send the rest of the request's body.
    Accept = 3,
    /// Both ways: a part of a body.
    Data = 4,
    /// Both ways: how far the peer may send.
    Credit = 5,
    /// Both ways: the exchange is over.
    Reset = 6,
    /// Both ways: are you there?
    Probe = 7,
    /// Consumer to gateway: received, and alive.
    Working = 8,
    /// Consumer to gateway: not executed, safe to send again.
    Refused = 9,
}

/// A decoded frame.
#[derive(Debug)]
pub enum Frame {
    /// See [`Kind::Request`].
    Request(Box<RequestFrame>),
    /// See [`Kind::Response`].
    Response(Box<ResponseFrame>),
    /// See [`Kind::Accept`].
    Accept(Accept),
    /// See [`Kind::Data`].
    Data(Data),
    /// See [`Kind::Credit`].
    Credit(Credit),
    /// See [`Kind::Reset`].
    Reset(Reset),
    /// See [`Kind::Probe`].
    Probe,
    /// See [`Kind::Working`].
    Working(Working),
    /// See [`Kind::Refused`].
    Refused(Refused),
}

impl Frame {
    /// Decodes any frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what is wrong with the payload: no frame, of an unknown kind or version, or over a limit.
    pub fn decode(payload: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let _ = (payload, limits);
        unimplemented!()
    }
}
