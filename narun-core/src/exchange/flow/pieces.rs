use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Pieces up to this size are put together where they have to wait: each of them would take more room than its bytes,
/// and hold on to the buffer that it was read into.
const SMALL: usize = 1024;

/// How many bytes are put together at the most.
const HEAP: usize = 16 * 1024;

/// Bytes that wait, in order, in the pieces that they came in.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    queue: VecDeque<Bytes>,
    /// Small ones, after all others.
    heap: BytesMut,
    len: usize,
}

impl Pieces {
    /// How many bytes there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece. Only a small one behind others is copied.
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

    /// Takes the first piece out.
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

/// The bytes, whatever pieces they are in.
impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(self.heap.as_ref(), Bytes::as_ref)
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len, "no further than to the end");
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
    fn what_comes_out_is_what_went_in() {
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
    fn many_small_pieces_are_few_that_wait() {
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
