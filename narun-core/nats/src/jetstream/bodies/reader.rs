use bytes::Bytes;
use narun_core::frame::ObjectRef;

use super::{BodyStore, BodyStoreError, SMALLEST_CHUNK};
use crate::jetstream::objects::ObjectCheck;

/// Reads a body chunk by chunk, and checks its size and digest. Holds one chunk in memory.
#[derive(Clone, Debug)]
pub struct BodyReader {
    store: BodyStore,
    subject: String,
    digest: [u8; 32],
    check: ObjectCheck,
    /// The first sequence number that the next chunk can have.
    next: u64,
}

/// A chunk as the bucket has it, not checked.
#[derive(Clone, Debug)]
pub struct BodyChunk {
    sequence: u64,
    data: Bytes,
}

impl BodyReader {
    pub(super) fn new(store: BodyStore, object: &ObjectRef) -> Result<Self, BodyStoreError> {
        let check = ObjectCheck::new(object.size);
        if check.digest().is_some_and(|empty| empty != object.digest) {
            return Err(BodyStoreError::Corrupt);
        }
        Ok(Self { subject: store.chunks(&object.name), store, digest: object.digest, check, next: 1 })
    }

    /// How many bytes have not been read.
    pub const fn left(&self) -> u64 {
        self.check.missing()
    }

    /// Reads the next chunk, for [`accept`](Self::accept). Must not be called at the end. Cancel safe: may be called again.
    ///
    /// # Errors
    ///
    /// [`BodyStoreError::Missing`] if there is no chunk at all, [`BodyStoreError::Corrupt`] if there is no further one.
    pub async fn fetch(&self) -> Result<BodyChunk, BodyStoreError> {
        match self.store.api.next_message(&self.store.stream, &self.subject, self.next).await? {
            Some(chunk) => Ok(BodyChunk { sequence: chunk.message.sequence, data: chunk.payload }),
            None if self.next == 1 => Err(BodyStoreError::Missing),
            None => Err(BodyStoreError::Corrupt),
        }
    }

    /// Checks the next chunk and returns its bytes. So the last bytes are only returned if the digest is right.
    ///
    /// # Errors
    ///
    /// [`BodyStoreError::Corrupt`] if it is too short or too long, or the digest of the body differs.
    pub fn accept(&mut self, chunk: BodyChunk) -> Result<Bytes, BodyStoreError> {
        let BodyChunk { sequence, data } = chunk;
        let smallest = self.check.missing().min(SMALLEST_CHUNK as u64);
        if (data.len() as u64) < smallest || !self.check.add(&data) {
            return Err(BodyStoreError::Corrupt);
        }
        if self.check.digest().is_some_and(|digest| digest != self.digest) {
            return Err(BodyStoreError::Corrupt);
        }
        self.next = sequence + 1;
        Ok(data)
    }
}
