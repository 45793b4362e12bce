use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Size up to which queued pieces are put together, in bytes: each piece would take more memory than its bytes, and keep
/// the buffer that it was read into.
const SMALL: usize = 1024;

/// Bytes that are put together, at most.
const HEAP: usize = 16 * 1024;

/// A queue of bytes, in the pieces in which they were added.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    queue: VecDeque<Bytes>,
    /// Small pieces, which follow the queue.
    heap: BytesMut,
    len: usize,
}

impl Pieces {
    /// Returns the number of bytes.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece. It is copied only if it is small and others are queued.
    pub(super) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        let alone = self.is_empty();
        self.len += piece.len();
        if piece.len() <= SMALL && !alone {
            if self.heap.len() + piece.len() > HEAP {
                self.close_heap();
            }
            self.heap.put(piece);
        } else {
            self.close_heap();
            self.queue.push_back(piece);
        }
    }

    /// Removes the first piece. Returns `None` if the queue is empty.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        if self.queue.is_empty() {
            self.close_heap();
        }
        let piece = self.queue.pop_front()?;
        self.len -= piece.len();
        Some(piece)
    }

    fn close_heap(&mut self) {
        if !self.heap.is_empty() {
            self.queue.push_back(self.heap.split().freeze());
        }
    }
}

/// The bytes in order, across pieces.
impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(self.heap.as_ref(), Bytes::as_ref)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "advanced beyond the end");
        self.len -= count;
        while let Some(first) = self.queue.front_mut() {
            if first.len() > count {
                return first.advance(count);
            }
            count -= first.len();
            self.queue.pop_front();
        }
        self.heap.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sizes: &[usize]) -> (Pieces, Vec<u8>) {
        let (mut pieces, mut all) = (Pieces::default(), Vec::new());
        for (number, size) in sizes.iter().enumerate() {
            let piece = vec![u8::try_from(number % 251).expect("small"); *size];
            all.extend_from_slice(&piece);
            pieces.push(piece.into());
        }
        (pieces, all)
    }

    #[test]
    fn pieces_keep_bytes_and_their_order() {
        for sizes in [&[][..], &[0], &[1], &[2000, 3, 0, 4, 5000, 6], &[1024, 1024, 1025], &[700; 100]] {
            let (mut pieces, all) = of(sizes);
            assert_eq!(pieces.len(), all.len());
            let popped: Vec<u8> = std::iter::from_fn(|| pieces.pop()).flatten().collect();
            assert_eq!(popped, all);
            assert!(pieces.is_empty());
            for most in [1, 3, 1024, 1_000_000] {
                let (mut pieces, all) = of(sizes);
                let mut taken = Vec::new();
                while !pieces.is_empty() {
                    let left = pieces.len();
                    let part = pieces.copy_to_bytes(most.min(left));
                    assert_eq!(pieces.len(), left - part.len());
                    taken.extend_from_slice(&part);
                }
                assert_eq!(taken, all);
            }
        }
    }

    #[test]
    fn many_small_pieces_are_put_together() {
        let (mut pieces, _) = of(&[1; 100_000]);
        assert!(std::iter::from_fn(|| pieces.pop()).count() < 10);
    }

    #[test]
    fn a_large_piece_is_not_copied() {
        let piece = Bytes::from(vec![1; 100_000]);
        let mut pieces = Pieces::default();
        pieces.push(piece.clone());
        pieces.advance(10);
        assert_eq!(pieces.chunk().as_ptr(), piece.slice(10..).as_ptr());
        assert_eq!(pieces.pop().map(|rest| rest.as_ptr()), Some(piece.slice(10..).as_ptr()));
    }
}
