//! Reading CBOR: texts and byte strings are slices of the payload.

use std::ops::Range;

use bytes::Bytes;

use super::DecodeError::{self, Malformed};
use super::{VERSIONS, cbor};
use crate::Limits;

/// Reads one frame: the kind when opened, then the head, then the body or its absence.
pub(super) struct Reader<'a> {
    payload: &'a Bytes,
    /// What is left of the payload, of which no more is seen than a head may take, so that no length in a head reaches
    /// further.
    rest: &'a [u8],
    /// How much of the payload is not seen.
    hidden: usize,
    limit: usize,
    elements: u64,
}

impl<'a> Reader<'a> {
    /// Reads as far as the kind.
    pub(super) fn open(payload: &'a Bytes, limits: &Limits) -> Result<(u64, Self), DecodeError> {
        let rest = payload.get(..limits.head).unwrap_or(payload);
        let hidden = payload.len() - rest.len();
        let mut reader = Self { payload, rest, hidden, limit: limits.head, elements: 0 };
        reader.elements = reader.array()?;
        let kind = reader.uint()?;
        Ok((kind, reader))
    }

    /// Reads the head, giving each key to `entry`, which reads its value or returns false if it does not know the key.
    pub(super) fn head(
        &mut self,
        mut entry: impl FnMut(&mut Self, u8) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let entries = self.expect(cbor::MAP, "a map is expected")?;
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

    /// Where the number under `wanted` is, which must be the head's first key, or its second one behind `before`.
    pub(super) fn first_of(&mut self, before: u8, wanted: u8) -> Result<Range<usize>, DecodeError> {
        self.expect(cbor::MAP, "a map is expected")?;
        let mut key = self.uint()?;
        if key == u64::from(before) {
            self.uint()?;
            key = self.uint()?;
        }
        if key != u64::from(wanted) {
            return Err(Malformed("keys in an unexpected order"));
        }
        let start = self.position();
        self.uint()?;
        Ok(start..self.position())
    }

    /// Ends a frame that may have a body.
    pub(super) fn body(mut self) -> Result<Bytes, DecodeError> {
        if self.elements != 3 {
            return self.finish().map(|()| Bytes::new());
        }
        // The body is no part of the head, whose limit ends here.
        self.rest = self.payload.get(self.position()..).unwrap_or_default();
        (self.hidden, self.limit) = (0, usize::MAX);
        let length = self.bytes()?.len();
        match self.rest {
            [] => Ok(self.slice(length)),
            _ => Err(Malformed("bytes after the frame")),
        }
    }

    /// Ends a frame that has no body.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.elements != 2 {
            return Err(Malformed("the wrong number of elements"));
        }
        match self.rest.len() + self.hidden {
            0 => Ok(()),
            _ => Err(Malformed("bytes after the frame")),
        }
    }

    pub(super) fn uint(&mut self) -> Result<u64, DecodeError> {
        self.expect(cbor::UINT, "an unsigned integer is expected")
    }

    pub(super) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.rest.split_first() {
            Some((&(cbor::FALSE | cbor::TRUE), _)) => Ok(self.item()? == (cbor::SIMPLE, 21)),
            Some(_) => Err(Malformed("a boolean is expected")),
            None => Err(self.ended()),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.expect(cbor::BYTES, "a byte string is expected")?;
        self.take(length)
    }

    /// Reads a text of which the caller checks that it is of ASCII, or UTF-8.
    pub(super) fn token(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.expect(cbor::TEXT, "a text is expected")?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.token()?).map_err(|_| Malformed("a text is not UTF-8"))
    }

    /// The last `length` bytes that were read, as a slice of the payload.
    pub(super) fn slice(&self, length: usize) -> Bytes {
        let end = self.position();
        self.payload.slice(end.saturating_sub(length)..end)
    }

    /// Reads the head of an array and returns its length, which nothing has vouched for.
    pub(super) fn array(&mut self) -> Result<u64, DecodeError> {
        self.expect(cbor::ARRAY, "an array is expected")
    }

    /// Reads a protocol version, which must be one that is spoken here.
    pub(super) fn version(&mut self) -> Result<u16, DecodeError> {
        let version = self.uint()?;
        match u16::try_from(version) {
            Ok(known) if VERSIONS.contains(&known) => Ok(known),
            _ => Err(DecodeError::Version(version)),
        }
    }

    /// How many bytes of the head are left at most.
    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Passes over any well-formed item of definite length, without recursion.
    fn skip(&mut self) -> Result<(), DecodeError> {
        let mut left = 1_u64;
        while left > 0 {
            let (major, argument) = self.item()?;
            let inner = match major {
                cbor::BYTES | cbor::TEXT => self.take(argument).map(|_| 0)?,
                cbor::ARRAY => argument,
                cbor::MAP => argument.saturating_mul(2),
                cbor::TAG => 1,
                _ => 0,
            };
            left = (left - 1).saturating_add(inner);
        }
        Ok(())
    }

    /// Reads the head of an item of this type and returns its argument.
    #[inline]
    fn expect(&mut self, major: u8, expected: &'static str) -> Result<u64, DecodeError> {
        match self.item()? {
            (actual, argument) if actual == major => Ok(argument),
            _ => Err(Malformed(expected)),
        }
    }

    /// Reads the head of any item: its major type and its argument.
    #[inline]
    fn item(&mut self) -> Result<(u8, u64), DecodeError> {
        match cbor::read_item(self.rest) {
            cbor::Item::Read { major, argument, rest } => {
                self.rest = rest;
                Ok((major, argument))
            }
            cbor::Item::Ended => Err(self.ended()),
            cbor::Item::Indefinite => Err(Malformed("an indefinite length")),
            cbor::Item::Reserved => Err(Malformed("a reserved item")),
        }
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8], DecodeError> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = taken.ok_or_else(|| self.ended())?;
        self.rest = rest;
        Ok(taken)
    }

    const fn position(&self) -> usize {
        self.payload.len() - self.hidden - self.rest.len()
    }

    /// Tells a payload that ends too early from a head that is over the limit.
    #[cold]
    const fn ended(&self) -> DecodeError {
        match self.hidden {
            0 => Malformed("it ends too early"),
            _ => DecodeError::TooLarge { what: "head", limit: self.limit },
        }
    }
}
