use bytes::{Buf, Bytes};
use http::{HeaderMap, Response, StatusCode, response};

use super::reader::Reader;
use super::text::{read_short, write_instance};
use super::writer::{FRAMING, Writer};
use super::{DecodeError, EncodeError, Kind, VERSION, fields, key};
use crate::Limits;
use crate::fields::Edit;

/// Bytes that the numbers of a RESPONSE take at most, with their keys.
const NUMBERS: usize = 50;

/// A decoded RESPONSE: the head of the exchange, the HTTP head, and the inline body.
#[derive(Clone, Debug)]
pub struct ResponseFrame {
    /// The part of the frame that is not HTTP's.
    pub head: ResponseHead,
    /// Status and fields as the handler set them, without the hop-by-hop fields.
    pub parts: response::Parts,
    /// The body, or its first bytes if [`ResponseHead::end`] is false. A slice of the payload.
    pub body: Bytes,
    /// Trailer fields, only if [`ResponseHead::end`] is true.
    pub trailers: Option<HeaderMap>,
}

/// The part of a RESPONSE that is not HTTP's.
///
/// Start from [`ResponseHead::new`] and assign fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseHead {
    /// Protocol version. Default [`super::VERSION`].
    pub version: u16,
    /// Feature bits. None is defined yet. Default 0.
    pub features: u64,
    /// Name of the consumer's process, at most 256 bytes; the rest is cut off. Default `None`.
    pub instance: Option<String>,
    /// Largest payload that the consumer's NATS server takes, in bytes. Default 0: unknown.
    pub max_payload: u64,
    /// Offset up to which the request's body may be sent, in bytes. Default 0.
    pub credit: u64,
    /// Whether the whole body is in this frame. Default true; false on the wire.
    pub end: bool,
}

impl ResponseHead {
    /// Creates the head of a response whose body is inline.
    pub const fn new() -> Self {
        Self { version: VERSION, features: 0, instance: None, max_payload: 0, credit: 0, end: true }
    }

    /// Encodes a RESPONSE from the parts of an HTTP response. Hop-by-hop fields are left out, and trailers if `end` is
    /// false.
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
        let writer = self.write(parts, edit, body.remaining(), trailers, limits)?;
        Ok(writer.finish_with(body))
    }

    /// Writes everything but the body, which has the length `body`.
    fn write(
        &self,
        parts: &response::Parts,
        edit: Edit<'_>,
        body: usize,
        trailers: Option<&HeaderMap>,
        limits: &Limits,
    ) -> Result<Writer, EncodeError> {
        let trailers = trailers.filter(|_| self.end);
        let capacity = FRAMING
            + NUMBERS
            + self.instance.as_ref().map_or(0, String::len)
            + fields::encoded_len(&parts.headers, &edit)
            + fields::trailers_len(trailers)
            + body;
        let mut writer = Writer::new(Kind::Response, capacity);
        writer.uint_unless(VERSION.into(), key::VERSION, self.version.into());
        writer.uint_unless(0, key::FEATURES, self.features);
        fields::write(&mut writer, &parts.headers, &edit, limits)?;
        writer.bool_unless(false, key::END, self.end);
        fields::check_count(fields::write_trailers(&mut writer, trailers), limits)?;
        writer.uint_unless(0, key::CREDIT, self.credit);
        writer.uint_unless(0, key::MAX_PAYLOAD, self.max_payload);
        writer.uint(key::response::STATUS, parts.status.as_u16().into());
        write_instance(&mut writer, self.instance.as_deref());
        if writer.len() > limits.head {
            return Err(EncodeError::FieldsTooLarge { limit: limits.head });
        }
        Ok(writer)
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
    /// As [`super::Frame::decode`], and [`DecodeError::Kind`] if the payload is another frame.
    pub fn decode(payload: &Bytes, limits: &Limits) -> Result<Self, DecodeError> {
        match Reader::open(payload, limits)? {
            (kind, reader) if kind == Kind::Response as u64 => Self::read(reader, limits),
            (kind, _) => Err(DecodeError::Kind(kind)),
        }
    }

    pub(super) fn read(mut reader: Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut head = ResponseHead { end: false, ..ResponseHead::new() };
        let (mut parts, ()) = Response::new(()).into_parts();
        let (mut status, mut trailers) = (None, None);
        reader.head(|reader, key| {
            match key {
                key::VERSION => head.version = reader.version()?,
                key::FEATURES => head.features = reader.uint()?,
                key::FIELDS => parts.headers = fields::read(reader, limits)?,
                key::END => head.end = reader.bool()?,
                key::TRAILERS => trailers = fields::read_trailers(reader, limits)?,
                key::CREDIT => head.credit = reader.uint()?,
                key::MAX_PAYLOAD => head.max_payload = reader.uint()?,
                key::response::STATUS => status = Some(read_status(reader)?),
                key::INSTANCE => head.instance = Some(read_short(reader)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        parts.status = status.ok_or(DecodeError::Malformed("a response without a status"))?;
        fields::check_trailers(trailers.as_ref(), head.end)?;
        Ok(Self { head, parts, body: reader.body()?, trailers })
    }
}

/// Reads a final status. Interim responses (1xx) do not cross.
fn read_status(reader: &mut Reader<'_>) -> Result<StatusCode, DecodeError> {
    let number = u16::try_from(reader.uint()?).ok();
    let status = number.and_then(|number| StatusCode::from_u16(number).ok());
    status.filter(|status| !status.is_informational()).ok_or(DecodeError::Http("status"))
}
