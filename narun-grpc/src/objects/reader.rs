use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use data_encoding::BASE64URL;
use sha2::{Digest, Sha256};
use tonic::Status;

use super::{Bucket, damaged};
use crate::Connection;

/// Reads the pieces of an object, one after the other as they are wanted, and checks size and digest.
pub(super) struct Reader {
    stream: Stream<()>,
    connection: Connection,
    subject: String,
    /// Where the next piece is looked for.
    sequence: u64,
    chunks: usize,
    size: usize,
    digest: Sha256,
    expected: Option<String>,
}

impl Reader {
    pub(super) async fn open(
        connection: &Connection,
        bucket: &Bucket,
        info: &ObjectInfo,
    ) -> Result<Self, Status> {
        let stream = connection.jetstream()?.get_stream_no_info(&bucket.stream).await;
        Ok(Self {
            stream: stream.map_err(|_| Status::invalid_argument("a bucket that NATS does not take"))?,
            connection: connection.clone(),
            subject: bucket.chunks(&info.nuid),
            sequence: 1,
            chunks: info.chunks,
            size: info.size,
            digest: Sha256::new(),
            expected: info.digest.clone(),
        })
    }

    /// The next piece; none at the end, once all was found to be as it was written.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.chunks == 0 {
            let digest = self.digest.clone().finalize();
            let found = format!("SHA-256={}", BASE64URL.encode(&digest));
            let right = self.size == 0 && self.expected.as_ref().is_none_or(|expected| *expected == found);
            return if right { Ok(None) } else { Err(damaged()) };
        }
        self.connection.mark()?;
        let message =
            self.stream.direct_get_next_for_subject(self.subject.as_str(), Some(self.sequence)).await;
        let message = message.map_err(|error| match error.kind() {
            // Another version has taken its place meanwhile, or it was deleted.
            DirectGetErrorKind::NotFound => Status::aborted("the object was changed while it was read"),
            DirectGetErrorKind::TimedOut => Status::deadline_exceeded("JetStream did not answer in time"),
            _ => Status::unavailable("JetStream is not available"),
        })?;
        self.sequence = message.sequence + 1;
        self.chunks -= 1;
        self.size = self.size.checked_sub(message.payload.len()).ok_or_else(damaged)?;
        self.digest.update(&message.payload);
        Ok(Some(message.payload))
    }
}
