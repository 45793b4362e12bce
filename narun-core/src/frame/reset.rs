use bytes::Bytes;

use super::reader::Reader;
use super::text::{read_short, shortened};
use super::writer::Writer;
use super::{DecodeError, Kind, key};

/// RESET: the exchange is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Why the exchange is over.
    pub code: ResetCode,
    /// A short text for people, at most 256 bytes; the rest is cut off. Default empty.
    pub text: String,
    /// Whether the handler ran, or may have. Default true.
    pub ran: bool,
}

/// Why an exchange was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetCode {
    /// 1: the HTTP client left, or another attempt won.
    Cancel,
    /// 2: the side that sends this does not know the exchange.
    Gone,
    /// 3: more was sent than the credit allows.
    Flow,
    /// 4: a frame is missing.
    Gap,
    /// 5: no frame arrived for too long.
    Idle,
    /// 6: a body is over a limit.
    TooLarge,
    /// 7: the deadline has passed.
    Deadline,
    /// 8: the process is stopping.
    Draining,
    /// 9: another cause.
    Internal,
    /// Another code, which this crate does not know. Treat it as [`ResetCode::Internal`].
    Other(u64),
}

impl Reset {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        let text = shortened(&self.text);
        let mut writer = Writer::new(Kind::Reset, 19 + text.len());
        writer.uint(key::reset::CODE, self.code.into());
        if !text.is_empty() {
            writer.text(key::reset::TEXT, text);
        }
        writer.bool_unless(true, key::reset::RAN, self.ran);
        writer.finish()
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, DecodeError> {
        let (mut code, mut text, mut ran) = (None, String::new(), true);
        reader.head(|reader, key| {
            match key {
                key::reset::CODE => code = Some(ResetCode::from(reader.uint()?)),
                key::reset::TEXT => text = read_short(reader)?,
                key::reset::RAN => ran = reader.bool()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        reader.finish()?;
        let code = code.ok_or(DecodeError::Malformed("a reset without a code"))?;
        Ok(Self { code, text, ran })
    }
}

/// Returns the number on the wire.
impl From<ResetCode> for u64 {
    fn from(code: ResetCode) -> Self {
        match code {
            ResetCode::Cancel => 1,
            ResetCode::Gone => 2,
            ResetCode::Flow => 3,
            ResetCode::Gap => 4,
            ResetCode::Idle => 5,
            ResetCode::TooLarge => 6,
            ResetCode::Deadline => 7,
            ResetCode::Draining => 8,
            ResetCode::Internal => 9,
            ResetCode::Other(number) => number,
        }
    }
}

/// Returns the meaning of a number on the wire.
impl From<u64> for ResetCode {
    fn from(number: u64) -> Self {
        match number {
            1 => Self::Cancel,
            2 => Self::Gone,
            3 => Self::Flow,
            4 => Self::Gap,
            5 => Self::Idle,
            6 => Self::TooLarge,
            7 => Self::Deadline,
            8 => Self::Draining,
            9 => Self::Internal,
            _ => Self::Other(number),
        }
    }
}
