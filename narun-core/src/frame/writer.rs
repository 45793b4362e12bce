//! Writing CBOR (RFC 8949) into one buffer, which is allocated once.

use std::convert::Infallible;
use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};
use http::header::{GetAll, HeaderValue};
use minicbor::Encoder;
use minicbor::encode::{Error, Write};

use super::Kind;

/// Bytes that a frame's array, kind, map and body length take at most.
pub(super) const FRAMING: usize = 12;

/// Bytes that the length of a text or byte string of up to 4 GiB, and the key before it, take at most.
pub(super) const STRING: usize = 6;

/// Major types, as they stand in an item's initial byte; a count up to 23 is added to it (RFC 8949, section 3).
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;

/// The buffer that is written into, without a limit.
#[derive(Debug, Default)]
struct Buffer(Vec<u8>);

impl Write for Buffer {
    type Error = Infallible;

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Discards the result of writing an item, which cannot fail.
#[inline]
fn written(result: Result<&mut Encoder<Buffer>, Error<Infallible>>) {
    // Dropping the error in place would cost as much as the rest of the encoding. Moving it into a call that is never
    // made costs the check only.
    if let Err(error) = result {
        impossible(error);
    }
}

#[cold]
#[inline(never)]
fn impossible(_: Error<Infallible>) {}

/// Appends a number to an encoded buffer.
pub(super) fn append_uint(buffer: Vec<u8>, number: u8) -> Vec<u8> {
    let mut cbor = Encoder::new(Buffer(buffer));
    written(cbor.u8(number));
    cbor.into_writer().0
}

/// Writes one frame. It counts the elements of the array and the entries of the map while it writes them.
pub(super) struct Writer {
    cbor: Encoder<Buffer>,
    entries: u8,
}

/// An array of pairs that is being written.
pub(super) struct Pairs {
    /// Where the array's count is.
    count: Range<usize>,
    most: usize,
    written: usize,
}

impl Writer {
    /// Begins a frame that is expected to take `capacity` bytes.
    pub(super) fn new(kind: Kind, capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend_from_slice(&[ARRAY, kind as u8, MAP]);
        Self { cbor: Encoder::new(Buffer(buffer)), entries: 0 }
    }

    /// Returns how many bytes have been written.
    pub(super) fn len(&self) -> usize {
        self.cbor.writer().0.len()
    }

    pub(super) fn uint(&mut self, key: u8, value: u64) {
        self.key(key);
        written(self.cbor.u64(value));
    }

    /// Writes the value unless it is the default.
    pub(super) fn uint_unless(&mut self, default: u64, key: u8, value: u64) {
        if value != default {
            self.uint(key, value);
        }
    }

    /// Writes the value if there is one.
    pub(super) fn uint_if(&mut self, key: u8, value: Option<u64>) {
        if let Some(value) = value {
            self.uint(key, value);
        }
    }

    /// Writes the value unless it is the default.
    pub(super) fn bool_unless(&mut self, default: bool, key: u8, value: bool) {
        if value != default {
            self.key(key);
            written(self.cbor.bool(value));
        }
    }

    pub(super) fn text(&mut self, key: u8, value: &str) {
        self.key(key);
        written(self.cbor.str(value));
    }

    pub(super) fn bytes(&mut self, key: u8, value: &[u8]) {
        self.key(key);
        written(self.cbor.bytes(value));
    }

    pub(super) fn uints(&mut self, key: u8, values: &[u16]) {
        self.key(key);
        written(self.cbor.array(values.len() as u64));
        for value in values {
            written(self.cbor.u16(*value));
        }
    }

    /// Begins an array of `items` items, which must be written next.
    pub(super) fn begin_array(&mut self, key: u8, items: u64) {
        self.key(key);
        written(self.cbor.array(items));
    }

    pub(super) fn text_item(&mut self, value: &str) {
        written(self.cbor.str(value));
    }

    pub(super) fn bytes_item(&mut self, value: &[u8]) {
        written(self.cbor.bytes(value));
    }

    pub(super) fn uint_item(&mut self, value: u64) {
        written(self.cbor.u64(value));
    }

    /// Begins an array of at most `most` pairs.
    pub(super) fn begin_pairs(&mut self, key: u8, most: usize) -> Pairs {
        self.key(key);
        let start = self.len();
        written(self.cbor.array(2 * most as u64));
        Pairs { count: start..self.len(), most, written: 0 }
    }

    /// Writes a text and a byte string.
    #[inline]
    pub(super) fn pair(&mut self, pairs: &mut Pairs, name: &str, value: &[u8]) {
        if !self.short(TEXT, name.as_bytes()) {
            written(self.cbor.str(name));
        }
        if !self.short(BYTES, value) {
            written(self.cbor.bytes(value));
        }
        pairs.written += 1;
    }

    /// Writes a text and a byte string that consists of values with a separator between them.
    pub(super) fn joined_pair(
        &mut self,
        pairs: &mut Pairs,
        name: &str,
        values: &GetAll<'_, HeaderValue>,
        separator: &[u8],
    ) {
        let separators = values.iter().count().saturating_sub(1) * separator.len();
        let length = values.iter().map(HeaderValue::len).sum::<usize>() + separators;
        written(self.cbor.str(name));
        written(self.cbor.bytes_len(length as u64));
        let buffer = &mut self.cbor.writer_mut().0;
        for (nth, value) in values.iter().enumerate() {
            buffer.extend_from_slice(if nth == 0 { &[] } else { separator });
            buffer.extend_from_slice(value.as_bytes());
        }
        pairs.written += 1;
    }

    /// Writes a string of up to 255 bytes, as nearly all strings in fields are. Returns false, and writes nothing, if it is
    /// longer.
    ///
    /// Fields are most of a frame, and checking the encoder's results, twice each, would take as long as writing them.
    #[inline]
    fn short(&mut self, major: u8, string: &[u8]) -> bool {
        let buffer = &mut self.cbor.writer_mut().0;
        match u8::try_from(string.len()) {
            Ok(length @ ..=23) => buffer.push(major | length),
            Ok(length) => buffer.extend_from_slice(&[major | 24, length]),
            Err(_) => return false,
        }
        buffer.extend_from_slice(string);
        true
    }

    /// Ends the array, corrects its count, and returns the number of pairs.
    pub(super) fn end_pairs(&mut self, pairs: Pairs) -> usize {
        let Pairs { count, most, written: pairs } = pairs;
        if pairs != most {
            let mut corrected = Encoder::new(Buffer::default());
            written(corrected.array(2 * pairs as u64));
            self.cbor.writer_mut().0.splice(count, corrected.into_writer().0);
        }
        pairs
    }

    /// Ends a frame that has no body.
    pub(super) fn finish(mut self) -> Bytes {
        self.count(2);
        self.cbor.into_writer().0.into()
    }

    /// Ends a frame with a body. An empty body is left out.
    pub(super) fn finish_with(mut self, body: impl Buf) -> Bytes {
        if !body.has_remaining() {
            return self.finish();
        }
        self.count(3);
        written(self.cbor.bytes_len(body.remaining() as u64));
        self.cbor.writer_mut().0.put(body);
        self.cbor.into_writer().0.into()
    }

    /// Writes a key: a number up to 23, which is one byte.
    fn key(&mut self, key: u8) {
        debug_assert!(key <= 23, "a key is one byte");
        self.entries += 1;
        written(self.cbor.u8(key));
    }

    fn count(&mut self, elements: u8) {
        debug_assert!(self.entries <= 23, "the map's count is one byte");
        if let [array, _, map, ..] = self.cbor.writer_mut().0.as_mut_slice() {
            *array |= elements;
            *map |= self.entries;
        }
    }
}
