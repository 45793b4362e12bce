//! Writing CBOR: one buffer, allocated once.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};

use super::Kind;
use super::cbor::{ARRAY, BYTES, FALSE, MAP, TEXT, TRUE, UINT, write_item};

/// Bytes that a frame's array, kind, map and body length take at most.
pub(super) const FRAMING: usize = 12;

/// Bytes that the length of a text or byte string of up to 4 GiB, and the key before it, take at most.
pub(super) const STRING: usize = 6;

/// Writes one frame. The array's elements and the map's entries are counted as they come, so that nothing has to be
/// counted in advance.
pub(super) struct Writer {
    buffer: Vec<u8>,
    entries: u8,
}

/// An array of pairs that is being written.
pub(super) struct Pairs {
    /// Where its count is.
    count: Range<usize>,
    most: usize,
    written: usize,
}

impl Writer {
    /// Begins a frame that is expected to take `capacity` bytes.
    pub(super) fn new(kind: Kind, capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend_from_slice(&[ARRAY, kind as u8, MAP]);
        Self { buffer, entries: 0 }
    }

    /// How much has been written.
    pub(super) const fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn uint(&mut self, key: u8, value: u64) {
        self.key(key);
        self.item(UINT, value);
    }

    /// Writes nothing if the value is the default.
    pub(super) fn uint_unless(&mut self, default: u64, key: u8, value: u64) {
        if value != default {
            self.uint(key, value);
        }
    }

    /// Writes nothing if there is no value.
    pub(super) fn uint_if(&mut self, key: u8, value: Option<u64>) {
        if let Some(value) = value {
            self.uint(key, value);
        }
    }

    /// Writes nothing if the value is the default.
    pub(super) fn bool_unless(&mut self, default: bool, key: u8, value: bool) {
        if value != default {
            self.key(key);
            self.buffer.push(if value { TRUE } else { FALSE });
        }
    }

    pub(super) fn text(&mut self, key: u8, value: &str) {
        self.key(key);
        self.string(TEXT, value.as_bytes());
    }

    pub(super) fn bytes(&mut self, key: u8, value: &[u8]) {
        self.key(key);
        self.string(BYTES, value);
    }

    pub(super) fn uints(&mut self, key: u8, values: &[u16]) {
        self.key(key);
        self.item(ARRAY, values.len() as u64);
        for value in values {
            self.item(UINT, u64::from(*value));
        }
    }

    /// Begins an array of pairs, of which there will be this many at most.
    pub(super) fn begin_pairs(&mut self, key: u8, most: usize) -> Pairs {
        self.key(key);
        let start = self.len();
        self.item(ARRAY, 2 * most as u64);
        Pairs { count: start..self.len(), most, written: 0 }
    }

    /// Writes a text and a byte string.
    #[inline]
    pub(super) fn pair(&mut self, pairs: &mut Pairs, name: &str, value: &[u8]) {
        self.string(TEXT, name.as_bytes());
        self.string(BYTES, value);
        pairs.written += 1;
    }

    /// Ends the array, correcting its count if there were fewer pairs, and returns how many there were.
    pub(super) fn end_pairs(&mut self, pairs: Pairs) -> usize {
        let Pairs { count, most, written } = pairs;
        if written != most {
            let mut corrected = Vec::new();
            write_item(&mut corrected, ARRAY, 2 * written as u64);
            self.buffer.splice(count, corrected);
        }
        written
    }

    /// Ends a frame that has no body.
    pub(super) fn finish(mut self) -> Bytes {
        self.count(2);
        self.buffer.into()
    }

    /// Ends a frame with a body, which is left out if it is empty.
    pub(super) fn finish_with(mut self, body: impl Buf) -> Bytes {
        if !body.has_remaining() {
            return self.finish();
        }
        self.count(3);
        self.item(BYTES, body.remaining() as u64);
        self.buffer.put(body);
        self.buffer.into()
    }

    /// Keys are small numbers, which are their own items.
    fn key(&mut self, key: u8) {
        debug_assert!(key <= 23, "a key is one byte");
        self.entries += 1;
        self.buffer.push(key);
    }

    #[inline]
    fn string(&mut self, major: u8, bytes: &[u8]) {
        self.item(major, bytes.len() as u64);
        self.buffer.extend_from_slice(bytes);
    }

    #[inline]
    fn item(&mut self, major: u8, argument: u64) {
        write_item(&mut self.buffer, major, argument);
    }

    fn count(&mut self, elements: u8) {
        debug_assert!(self.entries <= 23, "the map's count is one byte");
        if let [array, _, map, ..] = self.buffer.as_mut_slice() {
            *array |= elements;
            *map |= self.entries;
        }
    }
}
