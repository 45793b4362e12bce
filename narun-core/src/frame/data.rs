use bytes::{Buf, Bytes};
use http::HeaderMap;

use super::reader::Reader;
use super::writer::{FRAMING, Writer};
use super::{DecodeError, Kind, fields, key};
use crate::Limits;

/// DATA: a part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Sequence number, from 1 and without gaps in each direction.
    pub sequence: u64,
    /// The bytes of the part. May be empty.
    pub body: Bytes,
    /// Whether the body ends here. Default false.
    pub end: bool,
    /// Trailer fields, only if `end` is true. Default `None`.
    pub trailers: Option<HeaderMap>,
}

impl Data {
    /// Encodes the frame. Trailer fields that are not allowed in trailers are left out.
    pub fn encode(&self) -> Bytes {
        Self::encode_parts(self.sequence, self.body.as_ref(), self.end, self.trailers.as_ref())
    }

    /// The same for a body that may consist of several pieces.
    pub(crate) fn encode_parts(
        sequence: u64,
        body: impl Buf,
        end: bool,
        trailers: Option<&HeaderMap>,
    ) -> Bytes {
        let trailers = trailers.filter(|_| end);
        let capacity = FRAMING + 12 + fields::trailers_len(trailers) + body.remaining();
        let mut writer = Writer::new(Kind::Data, capacity);
        writer.bool_unless(false, key::END, end);
        fields::write_trailers(&mut writer, trailers);
        writer.uint(key::data::SEQUENCE, sequence);
        writer.finish_with(body)
    }

    pub(super) fn read(mut reader: Reader<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        let (mut sequence, mut end, mut trailers) = (0, false, None);
        reader.head(|reader, key| {
            match key {
                key::END => end = reader.bool()?,
                key::TRAILERS => trailers = fields::read_trailers(reader, limits)?,
                key::data::SEQUENCE => sequence = reader.uint()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if sequence == 0 {
            return Err(DecodeError::Malformed("data without a sequence number"));
        }
        fields::check_trailers(trailers.as_ref(), end)?;
        Ok(Self { sequence, body: reader.body()?, end, trailers })
    }
}
