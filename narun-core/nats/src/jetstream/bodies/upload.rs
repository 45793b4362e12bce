use std::fmt;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use bytes::Bytes;
use narun_core::frame::ObjectRef;

use super::{BodyStore, BodyStoreError, LIMIT, SMALLEST_CHUNK};
use crate::jetstream::api::{Api, ApiError, PendingMessage};
use crate::jetstream::objects::{self, CHUNK, ChunkSink, ChunkWriter, name_token};
use crate::jetstream::retry::{Backoff, retry};

/// How many chunks are sent before the first of them is stored.
const IN_FLIGHT: usize = 8;

/// How long it is tried to delete the parts of a body that is discarded, and the pauses meanwhile.
const PERSISTENCE: Duration = Duration::from_secs(120);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// A body that is being stored. Holds a few chunks in memory, however long the body is.
///
/// It has to end with [`finish`](Self::finish) or [`discard`](Self::discard): neither it nor its futures may be dropped
/// before, or chunks stay behind. Use it in a task that is not aborted.
pub struct BodyUpload {
    store: BodyStore,
    name: String,
    writer: ChunkWriter<BodySink>,
}

/// The chunks of one body.
struct BodySink {
    api: Api<Context>,
    subject: String,
}

impl BodyUpload {
    pub(super) fn new(mut store: BodyStore, name: String) -> Self {
        store.api = store.api.limit(LIMIT);
        let size = CHUNK.min(store.api.requester().client().server_info().max_payload).max(SMALLEST_CHUNK);
        let sink = BodySink { api: store.api.clone(), subject: store.chunks(&name) };
        Self { writer: ChunkWriter::new(sink, size, IN_FLIGHT), store, name }
    }

    /// How many bytes of it are in memory.
    pub fn held(&self) -> usize {
        self.writer.held()
    }

    /// How many bytes of it are stored.
    pub fn stored(&self) -> u64 {
        self.writer.stored()
    }

    /// Writes the next part. Waits while too many chunks are sent and not stored.
    ///
    /// # Errors
    ///
    /// A part, or an earlier one, cannot be stored. Then the upload has to be [discarded](Self::discard).
    pub async fn write(&mut self, part: Bytes) -> Result<(), BodyStoreError> {
        Ok(self.writer.write(part).await?)
    }

    /// Waits until everything that was sent is stored. Less than a chunk stays in memory.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn confirm(&mut self) -> Result<(), BodyStoreError> {
        // No chunk is that long.
        Ok(self.writer.flush(usize::MAX).await?)
    }

    /// Stores what has been written, so that little of it is in memory: less than 4 KiB, which are too short for a chunk.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn flush(&mut self) -> Result<(), BodyStoreError> {
        Ok(self.writer.flush(SMALLEST_CHUNK).await?)
    }

    /// Writes the last part, which may be empty, and returns the reference to the body, which is stored then.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn finish(&mut self, last: Bytes) -> Result<ObjectRef, BodyStoreError> {
        let written = self.writer.finish(last).await?;
        let bucket = self.store.bucket.clone();
        let info = written.info(bucket.clone(), self.name.clone(), name_token(&self.name));
        let info = serde_json::to_vec(&info).map_err(ApiError::from)?;
        let subject = objects::meta_subject(&bucket, &self.name);
        self.store.api.publish(subject, HeaderMap::new(), info.into()).await?;
        Ok(ObjectRef { bucket, name: self.name.clone(), size: written.size, digest: written.digest })
    }

    /// Waits until nothing of it is on its way, and frees its memory. Then the upload has to be
    /// [discarded](Self::discard).
    pub async fn settle(&mut self) {
        self.writer.settle().await;
    }

    /// Deletes what has been stored of it, if the server can be reached within 2 minutes.
    pub async fn discard(mut self) {
        self.settle().await;
        if self.writer.chunks() == 0 {
            return;
        }
        let token = name_token(&self.name);
        let purge = || self.store.purge(&token);
        if let Err(error) = retry(BACKOFF, Some(PERSISTENCE), ApiError::is_temporary, purge).await {
            self.store.undeleted.log_name(&self.store.bucket, &self.name, &error);
        }
    }
}

impl ChunkSink for BodySink {
    type Sent = PendingMessage;
    type Error = ApiError;

    async fn send(&self, chunk: Bytes) -> Result<PendingMessage, ApiError> {
        self.api.start_publish(self.subject.clone(), HeaderMap::new(), chunk).await
    }

    async fn stored(&self, sent: PendingMessage) -> Result<(), ApiError> {
        self.api.stored(sent).await.map(drop)
    }
}

impl fmt::Debug for BodyUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyUpload").field("name", &self.name).finish_non_exhaustive()
    }
}
