//! Writing CBOR: one buffer, allocated once.

use bytes::{Buf, BufMut, Bytes};
use minicbor::Encoder;

use super::Kind;

/// Bytes that a frame's array, kind, map and body length take at most.
pub(super) const FRAMING: usize = 12;

/// Bytes that the lengths of a text or byte string, of up to 4 GiB, and of the key before it take at most.
pub(super) const STRING: usize = 6;

/// Initial bytes of an array and a map without elements; counts up to 23 are added to the byte.
const ARRAY: u8 = 0x80;
const MAP: u8 = 0xa0;

/// Writes one frame. The array's elements and the map's entries are counted as they come, so that nothing has to be
/// counted in advance.
///
/// Results of the encoder are dropped: a `Vec` takes everything.
pub(super) struct Writer {
    cbor: Encoder<Vec<u8>>,
    entries: u8,
}

impl Writer {
    /// Begins a frame that is expected to take `capacity` bytes.
    pub(super) fn new(kind: Kind, capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend_from_slice(&[ARRAY, kind as u8, MAP]);
        Self { cbor: Encoder::new(buffer), entries: 0 }
    }

    /// How much has been written.
    pub(super) fn len(&self) -> usize {
        self.cbor.writer().len()
    }

    pub(super) fn uint(&mut self, key: u8, value: u64) {
        self.key(key);
        let _ = self.cbor.u64(value);
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
            let _ = self.cbor.bool(value);
        }
    }

    pub(super) fn text(&mut self, key: u8, value: &str) {
        self.key(key);
        let _ = self.cbor.str(value);
    }

    pub(super) fn bytes(&mut self, key: u8, value: &[u8]) {
        self.key(key);
        let _ = self.cbor.bytes(value);
    }

    pub(super) fn uints(&mut self, key: u8, values: &[u16]) {
        self.key(key);
        let _ = self.cbor.array(values.len() as u64);
        for value in values {
            let _ = self.cbor.u16(*value);
        }
    }

    /// Writes an array of texts and byte strings in turn, and returns how many pairs there were.
    ///
    /// At most `most` pairs may come; if they are fewer, the array's count is corrected.
    pub(super) fn pairs<'a>(
        &mut self,
        key: u8,
        most: usize,
        pairs: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> usize {
        self.key(key);
        let start = self.len();
        let _ = self.cbor.array(2 * most as u64);
        let end = self.len();
        let mut count = 0;
        for (name, value) in pairs {
            let _ = self.cbor.str(name);
            let _ = self.cbor.bytes(value);
            count += 1;
        }
        if count != most {
            let mut corrected = Encoder::new(Vec::new());
            let _ = corrected.array(2 * count as u64);
            self.cbor.writer_mut().splice(start..end, corrected.into_writer());
        }
        count
    }

    /// Ends a frame that has no body.
    pub(super) fn finish(mut self) -> Bytes {
        self.count(2);
        self.cbor.into_writer().into()
    }

    /// Ends a frame with a body, which is left out if it is empty.
    pub(super) fn finish_with(mut self, body: impl Buf) -> Bytes {
        if !body.has_remaining() {
            return self.finish();
        }
        self.count(3);
        let _ = self.cbor.bytes_len(body.remaining() as u64);
        self.cbor.writer_mut().put(body);
        self.cbor.into_writer().into()
    }

    fn key(&mut self, key: u8) {
        self.entries += 1;
        let _ = self.cbor.u8(key);
    }

    fn count(&mut self, elements: u8) {
        debug_assert!(self.entries <= 23, "the map's count is one byte");
        if let [array, _, map, ..] = self.cbor.writer_mut().as_mut_slice() {
            *array |= elements;
            *map |= self.entries;
        }
    }
}
