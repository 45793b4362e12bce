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
mod kind;
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
pub use kind::{Kind, VERSION, VERSIONS};
pub use refused::{Refusal, Refused};
pub use request::{RequestFrame, RequestHead};
pub use reset::{Reset, ResetCode};
pub use response::{ResponseFrame, ResponseHead};

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
