use std::time::Duration;

use bytes::Bytes;

use super::reader::Reader;
use super::text::millis;
use super::writer::Writer;
use super::{DecodeError, Kind, key};

/// Most versions that a REFUSED lists.
const LISTED: usize = 16;

/// REFUSED: the request was not executed, and may be sent again whatever its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why the request was not executed.
    pub reason: Refusal,
    /// Time after which to retry; milliseconds on the wire, rounded up. Default `None`: unknown.
    pub retry_after: Option<Duration>,
    /// Versions that the consumer supports, with [`Refusal::Version`]; the preferred one comes first. At most 16; the rest
    /// is cut off. Default empty.
    pub versions: Vec<u16>,
}

/// Why a request was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// 1: the consumer has no slot and no place in its queue.
    Overloaded,
    /// 2: the consumer is stopping.
    Draining,
    /// 3: the consumer does not support the version.
    Version,
    /// 4: the payload is invalid, over a limit, or not a REQUEST.
    BadFrame,
    /// Another reason, which this crate does not know.
    Other(u64),
}

impl Refused {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        let versions = self.versions.get(..LISTED).unwrap_or(&self.versions);
        let mut writer = Writer::new(Kind::Refused, 26 + 3 * versions.len());
        writer.uint(key::refused::REASON, self.reason.into());
        writer.uint_if(key::refused::RETRY_AFTER, self.retry_after.map(millis));
        if !versions.is_empty() {
            writer.uints(key::refused::VERSIONS, versions);
        }
        writer.finish()
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let (mut reason, mut retry_after, mut versions) = (None, None, Vec::new());
        reader.head(|reader, key| {
            match key {
                key::refused::REASON => reason = Some(Refusal::from(reader.uint()?)),
                key::refused::RETRY_AFTER => retry_after = Some(Duration::from_millis(reader.uint()?)),
                key::refused::VERSIONS => versions = read_versions(reader)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        reader.finish()?;
        let reason = reason.ok_or(DecodeError::Malformed("a refusal without a reason"))?;
        Ok(Self { reason, retry_after, versions })
    }
}

/// Returns the number on the wire.
impl From<Refusal> for u64 {
    fn from(reason: Refusal) -> Self {
        match reason {
            Refusal::Overloaded => 1,
            Refusal::Draining => 2,
            Refusal::Version => 3,
            Refusal::BadFrame => 4,
            Refusal::Other(number) => number,
        }
    }
}

/// Returns the meaning of a number on the wire.
impl From<u64> for Refusal {
    fn from(number: u64) -> Self {
        match number {
            1 => Self::Overloaded,
            2 => Self::Draining,
            3 => Self::Version,
            4 => Self::BadFrame,
            _ => Self::Other(number),
        }
    }
}

/// Reads versions. Numbers that are not versions of this crate's type, and versions after the 16th, are ignored.
fn read_versions(reader: &mut Reader<'_>) -> Result<Vec<u16>, DecodeError> {
    let mut versions = Vec::new();
    for _ in 0..reader.array()? {
        let version = reader.uint()?;
        versions.extend(u16::try_from(version).ok().filter(|_| versions.len() < LISTED));
    }
    Ok(versions)
}
