use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_STREAM;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures::FutureExt;
use narun_nats::jetstream::objects::{CHUNK, ChunkSink, ChunkWriter, ObjectInfo};
use tonic::Status;

use super::bucket::Bucket;
use crate::Connection;
use crate::connection::Mark;
use crate::convert::header_length;
use crate::random::{inbox, token};
use crate::status::{self, IntoStatus, OrStatus};

/// How many chunks may be on their way to JetStream: 2 MiB.
const IN_FLIGHT: usize = 16;

/// Writes the chunks of a new object, of 128 KiB or what the server takes. Removes them when dropped, unless they are kept.
pub(super) struct Writer {
    chunks: ChunkWriter<Chunks>,
    kept: bool,
}

/// The chunks of one object.
struct Chunks {
    connection: Connection,
    bucket: Bucket,
    id: String,
}

impl Writer {
    pub(super) fn new(connection: Connection, bucket: Bucket) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_STREAM, bucket.stream.as_str());
        let room = connection.client().max_payload().saturating_sub(header_length(Some(&headers)));
        let chunks = Chunks { connection, bucket, id: token() };
        Self { chunks: ChunkWriter::new(chunks, CHUNK.min(room).max(1), IN_FLIGHT), kept: false }
    }

    pub(super) async fn write(&mut self, data: Bytes) -> Result<(), Status> {
        self.chunks.write(data).await
    }

    /// Waits until everything is stored, and describes it; without metadata.
    pub(super) async fn finish(&mut self, object: &str) -> Result<ObjectInfo, Status> {
        let written = self.chunks.finish(Bytes::new()).await?;
        let Chunks { bucket, id, .. } = self.chunks.sink();
        Ok(written.info(bucket.name.clone(), object.to_owned(), id.clone()))
    }

    /// Sets whether the chunks belong to an object.
    pub(super) const fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }
}

impl ChunkSink for Chunks {
    type Sent = (Mark, PublishAckFuture);
    type Error = Status;

    async fn send(&self, chunk: Bytes) -> Result<(Mark, PublishAckFuture), Status> {
        let mark = self.connection.mark()?;
        let message = PublishMessage::build().payload(chunk).expected_stream(&self.bucket.stream);
        let subject = self.bucket.chunks(&self.id);
        let sent = self.connection.jetstream()?.send_publish(subject, message).await.or_status()?;
        Ok((mark, sent))
    }

    async fn stored(&self, (mark, sent): (Mark, PublishAckFuture)) -> Result<(), Status> {
        let stored = tokio::select! {
            biased;
            stored = sent.into_future() => stored,
            // Nothing was stored that an object has.
            () = self.connection.lost(mark) => return Err(status::lost()),
        };
        stored.map(drop).map_err(|error| {
            if error.kind() == PublishErrorKind::StreamNotFound {
                // The next upload checks whether the bucket was deleted, and then makes another one.
                self.connection.verified().remove(&self.bucket.stream);
            }
            error.into_status()
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.kept || self.chunks.chunks() == 0 {
            return;
        }
        // Nothing waits for the reply, but JetStream ignores requests without a reply subject.
        let Chunks { connection, bucket, id } = self.chunks.sink();
        let client = connection.client();
        let (subject, request) = bucket.purge(id);
        let (subject, request) = (connection.api_subject(&subject), request.to_string().into());
        let _ = client.publish_with_reply(subject, inbox(client), request).now_or_never();
    }
}
