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

    /// Takes so many bytes out, or all there are. Copies only if they are not in one piece.
    pub(super) fn take(&mut self, most: usize) -> Bytes {
        if self.queue.is_empty() {
            self.close_heap();
        }
        let size = most.min(self.len);
        self.len -= size;
        match self.queue.front_mut() {
            Some(first) if first.len() > size => first.split_to(size),
            Some(first) if first.len() == size => self.queue.pop_front().unwrap_or_default(),
            _ => self.gather(size),
        }
    }

    fn gather(&mut self, size: usize) -> Bytes {
        self.close_heap();
        let mut gathered = BytesMut::with_capacity(size);
        while gathered.len() < size {
            let Some(first) = self.queue.front_mut() else { break };
            let part = first.split_to(first.len().min(size - gathered.len()));
            gathered.put(part);
            if !first.has_remaining() {
                self.queue.pop_front();
            }
        }
        gathered.freeze()
    }

    fn close_heap(&mut self) {
        if !self.heap.is_empty() {
            self.queue.push_back(self.heap.split().freeze());
        }
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
                    let part = pieces.take(most);
                    assert_eq!((part.len(), pieces.len()), (most.min(left), left - part.len()));
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
        assert_eq!(pieces.take(10).as_ptr(), piece.as_ptr());
        assert_eq!(pieces.take(60_000).as_ptr(), piece.slice(10..).as_ptr());
        assert_eq!(pieces.pop().map(|rest| rest.as_ptr()), Some(piece.slice(60_010..).as_ptr()));
    }
}
