use std::fmt;
use std::io::{self, Write};
use std::ops::Range;

use bytes::Bytes;

/// The bytes that are stored without a buffer of their own: the texts of most requests.
const INLINE: usize = 256;

/// Texts that become the values of fields. They share one allocation, unless they are long.
#[derive(Debug)]
pub(super) struct Texts {
    inline: [u8; INLINE],
    len: usize,
    /// All texts, if they are long. Otherwise empty.
    long: Vec<u8>,
}

impl Texts {
    pub(super) const fn new() -> Self {
        Self { inline: [0; INLINE], len: 0, long: Vec::new() }
    }

    /// Appends a text and returns its place.
    pub(super) fn push(&mut self, text: impl fmt::Display) -> Range<usize> {
        let start = self.len;
        // Cannot fail: there is always room.
        let _ = write!(self, "{text}");
        start..self.len
    }

    /// All texts, one after the other.
    pub(super) fn into_bytes(self) -> Bytes {
        match self.long.is_empty() {
            true => Bytes::from_owner(self.inline),
            false => self.long.into(),
        }
    }
}

impl Write for Texts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.len + bytes.len();
        match self.inline.get_mut(self.len..end) {
            Some(place) if self.long.is_empty() => place.copy_from_slice(bytes),
            _ => {
                if self.long.is_empty() {
                    self.long.extend_from_slice(&self.inline[..self.len]);
                }
                self.long.extend_from_slice(bytes);
            }
        }
        self.len = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_are_found_at_their_places() {
        for lengths in [[1, 2, 3], [100, 155, 1], [100, 156, 1], [300, 0, 5], [0, 256, 0], [0, 257, 257]] {
            let mut texts = Texts::new();
            let wanted = ["a", "b", "c"].map(String::from);
            let wanted: Vec<_> = wanted.iter().zip(lengths).map(|(text, times)| text.repeat(times)).collect();
            let places: Vec<_> = wanted.iter().map(|text| texts.push(text)).collect();
            let bytes = texts.into_bytes();
            for (place, wanted) in places.into_iter().zip(wanted) {
                assert_eq!(bytes.slice(place), wanted);
            }
        }
    }
}
