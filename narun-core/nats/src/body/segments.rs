use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The pieces of a body, put together. One alone is not copied.
#[derive(Debug, Default)]
pub struct Segments {
    /// The only piece, or the first one once there is a second.
    first: Bytes,
    /// All pieces once there is a second.
    all: BytesMut,
}

impl Segments {
    /// How many bytes there are.
    pub fn received(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    /// Adds a piece at the end.
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

    /// Takes out all that there is.
    pub fn take(&mut self) -> Bytes {
        let first = std::mem::take(&mut self.first);
        if self.all.is_empty() { first } else { self.all.split().freeze() }
    }
}
