use bytes::Bytes;

use super::reader::Reader;
use super::text::{read_short, write_instance};
use super::writer::Writer;
use super::{DecodeError, Kind, VERSION, key};

/// ACCEPT: the consumer asks for the rest of the request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Protocol version. Default [`super::VERSION`].
    pub version: u16,
    /// Name of the consumer's process, at most 256 bytes; the rest is cut off. Default `None`.
    pub instance: Option<String>,
    /// Largest payload that the consumer's NATS server takes, in bytes. Default 0: unknown.
    pub max_payload: u64,
    /// Offset up to which the request's body may be sent, in bytes. Default 0.
    pub credit: u64,
}

/// CREDIT: the offset up to which the peer may send its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// Absolute offset in the body, whose first byte is at 0. An offset smaller than before changes nothing. Default 0.
    pub offset: u64,
    /// Whether the body is no longer wanted. The other direction is not affected. Default false.
    pub stop: bool,
    /// Sequence number of the last DATA that the sender of this frame has sent. A receiver that has seen fewer DATA has
    /// lost some. Default 0: the sender has sent none.
    pub sent: u64,
}

/// WORKING: the consumer is alive, and the request is queued or running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Working {
    /// Protocol version. Default [`super::VERSION`].
    pub version: u16,
    /// Name of the consumer's process, at most 256 bytes; the rest is cut off. Default `None`.
    pub instance: Option<String>,
}

/// Encodes a PROBE, which has no content.
pub fn encode_probe() -> Bytes {
    Writer::new(Kind::Probe, 3).finish()
}

pub(super) fn read_probe(mut reader: Reader<'_>) -> Result<(), DecodeError> {
    reader.head(|_, _| Ok(false))?;
    reader.finish()
}

impl Accept {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(Kind::Accept, 40 + self.instance.as_ref().map_or(0, String::len));
        writer.uint_unless(VERSION.into(), key::VERSION, self.version.into());
        writer.uint_unless(0, key::CREDIT, self.credit);
        writer.uint_unless(0, key::MAX_PAYLOAD, self.max_payload);
        write_instance(&mut writer, self.instance.as_deref());
        writer.finish()
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let mut frame = Self { version: VERSION, instance: None, max_payload: 0, credit: 0 };
        reader.head(|reader, key| {
            match key {
                key::VERSION => frame.version = reader.version()?,
                key::CREDIT => frame.credit = reader.uint()?,
                key::MAX_PAYLOAD => frame.max_payload = reader.uint()?,
                key::INSTANCE => frame.instance = Some(read_short(reader)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        reader.finish().map(|()| frame)
    }
}

impl Credit {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(Kind::Credit, 25);
        writer.uint_unless(0, key::CREDIT, self.offset);
        writer.bool_unless(false, key::credit::STOP, self.stop);
        writer.uint_unless(0, key::credit::SENT, self.sent);
        writer.finish()
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let mut frame = Self::default();
        reader.head(|reader, key| {
            match key {
                key::CREDIT => frame.offset = reader.uint()?,
                key::credit::STOP => frame.stop = reader.bool()?,
                key::credit::SENT => frame.sent = reader.uint()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        reader.finish().map(|()| frame)
    }
}

impl Working {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new(Kind::Working, 16 + self.instance.as_ref().map_or(0, String::len));
        writer.uint_unless(VERSION.into(), key::VERSION, self.version.into());
        write_instance(&mut writer, self.instance.as_deref());
        writer.finish()
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let mut frame = Self { version: VERSION, instance: None };
        reader.head(|reader, key| {
            match key {
                key::VERSION => frame.version = reader.version()?,
                key::INSTANCE => frame.instance = Some(read_short(reader)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        reader.finish().map(|()| frame)
    }
}
