use std::collections::VecDeque;
use std::time::SystemTime;

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::object_store::{ObjectInfo, ObjectOptions};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::bucket::{Bucket, digest_text};
use crate::Connection;
use crate::random::token;
use crate::status::{IntoStatus, OrStatus};

/// Pieces of an object are of this many bytes, as those of other NATS clients.
const CHUNK: usize = 128 << 10;

/// Pieces that are on their way to JetStream, at most: 2 MiB.
const IN_FLIGHT: usize = 16;

/// Writes the pieces of an object that is to be. Dropped before it is kept, it has them removed.
pub(super) struct Writer {
    connection: Connection,
    bucket: Bucket,
    id: String,
    /// Less than a piece, which waits for more.
    rest: BytesMut,
    stored: VecDeque<PublishAckFuture>,
    digest: Sha256,
    size: usize,
    chunks: usize,
    kept: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, bucket: Bucket) -> Self {
        Self {
            connection,
            bucket,
            id: token(),
            rest: BytesMut::new(),
            stored: VecDeque::with_capacity(IN_FLIGHT),
            digest: Sha256::new(),
            size: 0,
            chunks: 0,
            kept: false,
        }
    }

    pub(super) async fn write(&mut self, mut data: Bytes) -> Result<(), Status> {
        self.digest.update(&data);
        self.size += data.len();
        if !self.rest.is_empty() {
            let missing = data.split_to((CHUNK - self.rest.len()).min(data.len()));
            self.rest.extend_from_slice(&missing);
            if self.rest.len() < CHUNK {
                return Ok(());
            }
            let chunk = self.rest.split().freeze();
            self.publish(chunk).await?;
        }
        while data.len() >= CHUNK {
            self.publish(data.split_to(CHUNK)).await?;
        }
        self.rest.extend_from_slice(&data);
        Ok(())
    }

    async fn publish(&mut self, chunk: Bytes) -> Result<(), Status> {
        if self.stored.len() >= IN_FLIGHT {
            self.wait_for_one().await?;
        }
        self.connection.mark()?;
        let message = PublishMessage::build().payload(chunk).expected_stream(&self.bucket.stream);
        let subject = self.bucket.chunks(&self.id);
        self.stored.push_back(self.connection.jetstream()?.send_publish(subject, message).await.or_status()?);
        self.chunks += 1;
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<(), Status> {
        let Some(first) = self.stored.pop_front() else { return Ok(()) };
        first.await.map(drop).map_err(|error| {
            if error.kind() == PublishErrorKind::StreamNotFound {
                // So that the next one looks whether it was deleted, and then makes another.
                self.connection.verified().remove(&self.bucket.stream);
            }
            error.into_status()
        })
    }

    /// Waits until all is stored, and tells what it is; its name and metadata are not known here.
    pub(super) async fn finish(&mut self) -> Result<ObjectInfo, Status> {
        let last = self.rest.split().freeze();
        if !last.is_empty() {
            self.publish(last).await?;
        }
        while !self.stored.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(ObjectInfo {
            name: String::new(),
            description: None,
            metadata: Default::default(),
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(CHUNK) }),
            bucket: self.bucket.name.clone(),
            nuid: self.id.clone(),
            size: self.size,
            chunks: self.chunks,
            modified: Some(SystemTime::now().into()),
            digest: Some(digest_text(self.digest.clone())),
            deleted: false,
        })
    }

    /// Whether the pieces are an object's.
    pub(super) const fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.kept || self.chunks == 0 {
            return;
        }
        // Nobody waits for the answer; JetStream wants to have somebody to send it to.
        let client = self.connection.client();
        let (subject, request) = self.bucket.purge(&self.id);
        let (subject, request) = (self.connection.api_subject(&subject), request.to_string().into());
        let _ = client.publish_with_reply(subject, client.new_inbox(), request).now_or_never();
    }
}
