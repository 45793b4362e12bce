//! The nine frames of the exchange protocol and their CBOR form.
//!
//! A frame is one NATS payload: the array `[kind, head]` or `[kind, head, body]`, where the head is a map with small
//! integer keys. Decoding a body or a field value takes a slice of the payload and copies nothing.

mod control;
mod data;
mod durable;
mod error;
mod fields;
mod key;
mod peer;
mod reader;
mod refused;
mod request;
mod reset;
mod response;
mod target;
mod text;
mod writer;

use bytes::Bytes;

use crate::Limits;
use reader::Reader;

pub use control::{Accept, Credit, Working, encode_probe};
pub use data::Data;
pub use durable::{ObjectRef, OutcomeRef};
pub use error::{DecodeError, EncodeError};
pub use refused::{Refusal, Refused};
pub use request::{RequestFrame, RequestHead};
pub use reset::{Reset, ResetCode};
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
#[derive(Clone, Debug)]
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

impl Kind {
    const fn of(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Accept,
            4 => Self::Data,
            5 => Self::Credit,
            6 => Self::Reset,
            7 => Self::Probe,
            8 => Self::Working,
            9 => Self::Refused,
            _ => return None,
        })
    }
}

impl Frame {
    /// Decodes any frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] says what is wrong with the payload: no frame, of an unknown kind or version, or over a limit.
    pub fn decode(payload: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let (kind, reader) = Reader::open(payload, limits)?;
        Ok(match Kind::of(kind).ok_or(DecodeError::Kind(kind))? {
            Kind::Request => Self::Request(Box::new(RequestFrame::read(reader, limits)?)),
            Kind::Response => Self::Response(Box::new(ResponseFrame::read(reader, limits)?)),
            Kind::Accept => Self::Accept(Accept::read(reader)?),
            Kind::Data => Self::Data(Data::read(reader, limits)?),
            Kind::Credit => Self::Credit(Credit::read(reader)?),
            Kind::Reset => Self::Reset(Reset::read(reader)?),
            Kind::Probe => control::read_probe(reader).map(|()| Self::Probe)?,
            Kind::Working => Self::Working(Working::read(reader)?),
            Kind::Refused => Self::Refused(Refused::read(reader)?),
        })
    }
}

#[cfg(test)]
mod tests;
