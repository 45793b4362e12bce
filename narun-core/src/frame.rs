//! The nine frames of the exchange protocol and their CBOR form.
//!
//! A frame is one NATS payload: the array `[kind, head]` or `[kind, head, body]` (RFC 8949). The head is a map with small
//! integer keys. A decoded body or field value is a slice of the payload: nothing is copied.
//!
//! [`Frame`], [`Kind`], the frames without HTTP content, [`ObjectRef`] and [`OutcomeRef`] are exhaustive, because a sender
//! or receiver must consider each kind and each part. [`RequestHead`] and [`ResponseHead`] are `#[non_exhaustive]`: start
//! from `new` and assign fields.

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

/// The version of the protocol that this crate prefers.
pub const VERSION: u16 = 1;

/// All versions of the protocol that this crate supports, the preferred one first.
pub const VERSIONS: &[u16] = &[VERSION];

/// The kind of a frame, its first element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Gateway to app: the HTTP request.
    Request = 1,
    /// Consumer to gateway: the HTTP response.
    Response = 2,
    /// Consumer to gateway: send the rest of the request's body.
    Accept = 3,
    /// Both ways: a part of a body.
    Data = 4,
    /// Both ways: the offset up to which the peer may send.
    Credit = 5,
    /// Both ways: the exchange is over.
    Reset = 6,
    /// Both ways: are you there? The response is CREDIT.
    Probe = 7,
    /// Consumer to gateway: the request is queued or running.
    Working = 8,
    /// Consumer to gateway: the request was not executed, and may be sent again.
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
    const fn from_number(number: u64) -> Option<Self> {
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
    /// Decodes a frame of any kind.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the payload is not a frame, has an unknown kind or version, or is over a limit.
    pub fn decode(payload: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        let (kind, reader) = Reader::open(payload, limits)?;
        Ok(match Kind::from_number(kind).ok_or(DecodeError::Kind(kind))? {
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
