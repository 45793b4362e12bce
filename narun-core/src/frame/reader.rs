//! Reading CBOR (RFC 8949): texts and byte strings are slices of the payload.

use std::ops::Range;

use bytes::Bytes;
use minicbor::Decoder;
use minicbor::decode::Error;

use super::DecodeError::{self, Malformed};
use super::VERSIONS;
use crate::Limits;

/// Major types, as they stand in an item's initial byte (RFC 8949, section 3).
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;

/// Reads one frame: the kind when it is opened, then the head, then the body or its absence.
pub(super) struct Reader<'a> {
    payload: &'a Bytes,
    /// Sees only as much of the payload as a head may take, so that no length in a head reaches further.
    cbor: Decoder<'a>,
    limit: usize,
    /// The inline limit.
    frame: usize,
    elements: u64,
}

impl<'a> Reader<'a> {
    /// Opens a payload and reads the kind.
    pub(super) fn open(payload: &'a Bytes, limits: &Limits) -> Result<(u64, Self), DecodeError> {
        let seen = payload.get(..limits.head).unwrap_or(payload);
        let (cbor, limit, frame) = (Decoder::new(seen), limits.head, limits.frame);
        let mut reader = Self { payload, cbor, limit, frame, elements: 0 };
        reader.elements = reader.array()?;
        let kind = reader.uint()?;
        Ok((kind, reader))
    }

    /// Reads the head. `entry` is called for each key: it reads the value, or returns false if the key is unknown.
    pub(super) fn head(
        &mut self,
        mut entry: impl FnMut(&mut Self, u8) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let entries = self.map()?;
        let mut seen = 0_u32;
        for _ in 0..entries {
            let Ok(key) = u8::try_from(self.uint()?) else {
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

    /// Returns where the number under the key `wanted` is. It must be the head's first key, or the second one after
    /// `before`.
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

    /// Ends a frame that may have a body. The inline limit applies to it.
    pub(super) fn body(mut self) -> Result<Bytes, DecodeError> {
        if self.payload.len() > self.frame {
            return Err(DecodeError::TooLarge { what: "frame", limit: self.frame });
        }
        if self.elements != 3 {
            return self.finish().map(|()| Bytes::new());
        }
        // The limit on the head ends here.
        let mut rest = Decoder::new(self.payload);
        rest.set_position(self.cbor.position());
        (self.cbor, self.limit) = (rest, usize::MAX);
        let length = self.bytes()?.len();
        match self.cbor.position() == self.payload.len() {
            true => Ok(self.slice(length)),
            false => Err(Malformed("bytes after the frame")),
        }
    }

    /// Ends a frame that has no body.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.elements != 2 {
            return Err(Malformed("the wrong number of elements"));
        }
        match self.cbor.position() == self.payload.len() {
            true => Ok(()),
            false => Err(Malformed("bytes after the frame")),
        }
    }

    #[inline]
    pub(super) fn uint(&mut self) -> Result<u64, DecodeError> {
        self.cbor.u64().map_err(|error| self.refuse(&error, "an unsigned integer is expected"))
    }

    pub(super) fn bool(&mut self) -> Result<bool, DecodeError> {
        self.cbor.bool().map_err(|error| self.refuse(&error, "a boolean is expected"))
    }

    #[inline]
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        if let Some(bytes) = self.short(BYTES) {
            return Ok(bytes);
        }
        self.cbor.bytes().map_err(|error| self.refuse(&error, "a byte string is expected"))
    }

    /// Reads a text as bytes that may be invalid UTF-8. The caller must check that they are ASCII.
    #[inline]
    pub(super) fn token(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.short(TEXT) {
            Some(token) => Ok(token),
            None => self.text().map(str::as_bytes),
        }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        self.cbor.str().map_err(|error| self.refuse(&error, "a text is expected"))
    }

    /// Reads a string of up to 255 bytes, as nearly all strings in fields are. Returns `None`, and reads nothing, if
    /// anything else follows: the decoder must handle it.
    #[inline]
    fn short(&mut self, major: u8) -> Option<&'a [u8]> {
        let start = self.cbor.position();
        let input = self.cbor.input();
        let (&initial, rest) = input.get(start..)?.split_first()?;
        let (start, length) = match initial ^ major {
            length @ ..=23 => (start + 1, length),
            24 => (start + 2, *rest.first()?),
            _ => return None,
        };
        let end = start + usize::from(length);
        let string = input.get(start..end)?;
        self.cbor.set_position(end);
        Some(string)
    }

    /// Returns the last `length` bytes that were read, as a slice of the payload.
    pub(super) fn slice(&self, length: usize) -> Bytes {
        let end = self.cbor.position();
        self.payload.slice(end.saturating_sub(length)..end)
    }

    /// Reads the head of an array and returns its length, which is unchecked.
    pub(super) fn array(&mut self) -> Result<u64, DecodeError> {
        let length = self.cbor.array().map_err(|error| self.refuse(&error, "an array is expected"))?;
        length.ok_or(Malformed("an indefinite length"))
    }

    fn map(&mut self) -> Result<u64, DecodeError> {
        let length = self.cbor.map().map_err(|error| self.refuse(&error, "a map is expected"))?;
        length.ok_or(Malformed("an indefinite length"))
    }

    /// Reads a protocol version. It must be a supported one.
    pub(super) fn version(&mut self) -> Result<u16, DecodeError> {
        let version = self.uint()?;
        match u16::try_from(version) {
            Ok(known) if VERSIONS.contains(&known) => Ok(known),
            _ => Err(DecodeError::Version(version)),
        }
    }

    /// Returns an upper bound of the bytes that are left of the head.
    pub(super) fn remaining(&self) -> usize {
        self.cbor.input().len() - self.cbor.position()
    }

    /// Skips a well-formed item of definite length, without recursion.
    fn skip(&mut self) -> Result<(), DecodeError> {
        let mut left = 1_u64;
        while left > 0 {
            let initial = self.cbor.input().get(self.cbor.position());
            let initial = *initial.ok_or_else(|| self.refuse(&Error::end_of_input(), ""))?;
            let inner = match initial >> 5 {
                0 | 1 => {
                    self.cbor.int().map(|_| 0).map_err(|error| self.refuse(&error, "a malformed integer"))?
                }
                2 => self.bytes().map(|_| 0)?,
                3 => self.text().map(|_| 0)?,
                4 => self.array()?,
                5 => self.map()?.saturating_mul(2),
                6 => self.cbor.tag().map(|_| 1).map_err(|error| self.refuse(&error, "a malformed tag"))?,
                _ => self.skip_simple(initial)?,
            };
            left = (left - 1).saturating_add(inner);
        }
        Ok(())
    }

    /// Skips a simple value or a float. Returns the number of items in it, which is 0.
    fn skip_simple(&mut self, initial: u8) -> Result<u64, DecodeError> {
        let length = match initial & 0x1f {
            0..=23 => 1,
            24 => 2,
            25 => 3,
            26 => 5,
            27 => 9,
            _ => return Err(Malformed("a malformed simple value")),
        };
        if length > self.remaining() {
            return Err(self.refuse(&Error::end_of_input(), ""));
        }
        self.cbor.set_position(self.cbor.position() + length);
        Ok(0)
    }

    /// Converts an error: the head is over the limit, the payload ends too early, or something else was expected.
    #[cold]
    fn refuse(&self, error: &Error, expected: &'static str) -> DecodeError {
        match error.is_end_of_input() {
            true if self.payload.len() > self.limit => {
                DecodeError::TooLarge { what: "head", limit: self.limit }
            }
            true => Malformed("the payload ends too early"),
            false => Malformed(expected),
        }
    }
}
