use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Joins the pieces of a body. A single piece is not copied.
#[derive(Debug, Default)]
pub struct Segments {
    /// The first piece.
    first: Bytes,
    /// All pieces, if there are at least two.
    all: BytesMut,
}

impl Segments {
    /// How many bytes were pushed.
    pub fn received(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    /// Appends a piece.
    pub fn push(&mut self, mut piece: impl Buf) {
        if self.received() == 0 {
            self.first = piece.copy_to_bytes(piece.remaining());
        } else if piece.has_remaining() {
            if self.all.is_empty() {
                self.all.put(self.first.as_ref());
            }
            self.all.put(piece);
        }
    }

    /// Takes all bytes.
    pub fn take(&mut self) -> Bytes {
        let first = std::mem::take(&mut self.first);
        if self.all.is_empty() { first } else { self.all.split().freeze() }
    }
}
