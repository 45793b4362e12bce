//! Reading CBOR: texts and byte strings are slices of the payload.

use std::ops::Range;

use bytes::Bytes;
use minicbor::Decoder;
use minicbor::decode::Error;

use super::{DecodeError, VERSIONS};
use crate::Limits;

use DecodeError::Malformed;

/// Reads one frame: the kind when opened, then the head, then the body or its absence.
///
/// The decoder sees no more of the payload than a head may take, so that no length in a head can reach further.
pub(super) struct Reader<'a> {
    payload: &'a Bytes,
    cbor: Decoder<'a>,
    limit: usize,
    elements: u64,
}

impl<'a> Reader<'a> {
    /// Reads as far as the kind.
    pub(super) fn open(payload: &'a Bytes, limits: &Limits) -> Result<(u64, Self), DecodeError> {
        let seen = payload.get(..limits.head).unwrap_or(payload);
        let mut reader = Self { payload, cbor: Decoder::new(seen), limit: limits.head, elements: 0 };
        reader.elements = reader.array()?;
        let kind = reader.uint()?;
        Ok((kind, reader))
    }

    /// Reads the head, giving each key to `entry`, which reads its value or returns false if it does not know the key.
    pub(super) fn head(
        &mut self,
        mut entry: impl FnMut(&mut Self, u8) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let entries = self.map()?;
        let mut seen = 0_u32;
        for _ in 0..entries {
            let key = self.uint()?;
            let Ok(key) = u8::try_from(key) else {
                self.skip()?;
                continue;
            };
            let bit = 1_u32.checked_shl(key.into()).unwrap_or(0);
            if seen & bit != 0 {
                return Err(Malformed("a key occurs twice"));
            }
            seen |= bit;
            if !entry(self, key)? {
                self.skip()?;
            }
        }
        Ok(())
    }

    /// Where the number under `wanted` is, which must be the head's first key, or its second one behind `before`.
    pub(super) fn first_of(&mut self, before: u8, wanted: u8) -> Result<Range<usize>, DecodeError> {
        self.map()?;
        let mut key = self.uint()?;
        if key == u64::from(before) {
            self.uint()?;
            key = self.uint()?;
        }
        if key != u64::from(wanted) {
            return Err(Malformed("keys in an unexpected order"));
        }
        let start = self.cbor.position();
        self.uint()?;
        Ok(start..self.cbor.position())
    }

    /// Ends a frame that may have a body.
    pub(super) fn body(self) -> Result<Bytes, DecodeError> {
        if self.elements != 3 {
            return self.finish().map(|()| Bytes::new());
        }
        let mut rest = Decoder::new(self.payload);
        rest.set_position(self.cbor.position());
        let length = rest.bytes().map_err(|_| Malformed("the body is no byte string"))?.len();
        let end = rest.position();
        if end != self.payload.len() {
            return Err(Malformed("bytes after the frame"));
        }
        Ok(self.payload.slice(end - length..end))
    }

    /// Ends a frame that has no body.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.elements != 2 {
            return Err(Malformed("the wrong number of elements"));
        }
        if self.cbor.position() != self.payload.len() {
            return Err(Malformed("bytes after the frame"));
        }
        Ok(())
    }

    pub(super) fn uint(&mut self) -> Result<u64, DecodeError> {
        self.cbor.u64().map_err(|error| self.error(&error, "an unsigned integer is expected"))
    }

    pub(super) fn bool(&mut self) -> Result<bool, DecodeError> {
        self.cbor.bool().map_err(|error| self.error(&error, "a boolean is expected"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        self.cbor.bytes().map_err(|error| self.error(&error, "a byte string is expected"))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        self.cbor.str().map_err(|error| self.error(&error, "a text is expected"))
    }

    /// The last `length` bytes that were read, as a slice of the payload.
    pub(super) fn slice(&self, length: usize) -> Bytes {
        let end = self.cbor.position();
        self.payload.slice(end.saturating_sub(length)..end)
    }

    /// Reads the head of an array and returns its length, which nothing has vouched for.
    pub(super) fn array(&mut self) -> Result<u64, DecodeError> {
        let length = self.cbor.array().map_err(|error| self.error(&error, "an array is expected"))?;
        length.ok_or(Malformed("indefinite length"))
    }

    fn map(&mut self) -> Result<u64, DecodeError> {
        let length = self.cbor.map().map_err(|error| self.error(&error, "a map is expected"))?;
        length.ok_or(Malformed("indefinite length"))
    }

    /// Reads a protocol version, which must be one that is spoken here.
    pub(super) fn version(&mut self) -> Result<u16, DecodeError> {
        let version = self.uint()?;
        match u16::try_from(version) {
            Ok(known) if VERSIONS.contains(&known) => Ok(known),
            _ => Err(DecodeError::Version(version)),
        }
    }

    /// Passes over any well-formed item of definite length, without recursion.
    pub(super) fn skip(&mut self) -> Result<(), DecodeError> {
        let mut left = 1_u64;
        while left > 0 {
            let start = self.cbor.position();
            let Some(&byte) = self.cbor.input().get(start) else {
                return Err(self.error(&Error::end_of_input(), ""));
            };
            let inner = match byte >> 5 {
                0 => self.uint().map(|_| 0)?,
                1 => self.cbor.int().map(|_| 0).map_err(|error| self.error(&error, "a malformed integer"))?,
                2 => self.bytes().map(|_| 0)?,
                3 => self.text().map(|_| 0)?,
                4 => self.array()?,
                5 => self.map()?.saturating_mul(2),
                6 => self.cbor.tag().map(|_| 1).map_err(|error| self.error(&error, "a malformed tag"))?,
                _ => {
                    let size = match byte & 0x1f {
                        0..=23 => 1,
                        24 => 2,
                        25 => 3,
                        26 => 5,
                        27 => 9,
                        _ => return Err(Malformed("a malformed simple value")),
                    };
                    if start + size > self.cbor.input().len() {
                        return Err(self.error(&Error::end_of_input(), ""));
                    }
                    self.cbor.set_position(start + size);
                    0
                }
            };
            left = (left - 1).saturating_add(inner);
        }
        Ok(())
    }

    /// How many bytes of the head are left at most.
    pub(super) fn remaining(&self) -> usize {
        self.cbor.input().len() - self.cbor.position()
    }

    /// Tells a payload that ends too early from a head that is over the limit.
    fn error(&self, error: &Error, expected: &'static str) -> DecodeError {
        match error.is_end_of_input() {
            true if self.payload.len() > self.limit => {
                DecodeError::TooLarge { what: "head", limit: self.limit }
            }
            true => Malformed("it ends too early"),
            false => Malformed(expected),
        }
    }
}
