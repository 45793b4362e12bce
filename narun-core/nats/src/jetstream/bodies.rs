use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use narun_core::ExchangeId;
use narun_core::frame::ObjectRef;
use rand::Rng;
use tracing::warn;

use super::api::{Api, ApiError};
use super::objects::{self, CHUNK, ChunkSink, ChunkWriter, ObjectCheck, Written, name_token};

/// The bucket of bodies: request bodies that do not fit in a message, as objects of a NATS object store.
#[derive(Clone, Debug)]
pub struct BodyStore {
    api: Api<Context>,
    bucket: String,
    stream: String,
}

/// Why a body could not be stored, read or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyStoreError {
    /// There is no such object.
    #[error("the body does not exist any more")]
    Missing,
    /// Size or digest differ from those of the reference.
    #[error("the body is not the one that was stored")]
    Corrupt,
    /// The bucket is full.
    #[error("the bucket of bodies is full")]
    Full,
    /// There was no response, no connection or no leader, or the server refused: a retry may succeed.
    #[error("the bucket of bodies cannot be reached: {0}")]
    Unavailable(String),
}

/// The fewest bytes of a chunk that is read, except for the last: a body must not be a million messages.
const SMALLEST_CHUNK: usize = 4 * 1024;

/// How many chunks are sent before the first of them is stored.
const IN_FLIGHT: usize = 8;

impl BodyStore {
    pub(super) fn new(api: Api<Context>, bucket: String) -> Self {
        Self { api, stream: objects::stream_name(&bucket), bucket }
    }

    /// Stores a body of the request `id` under a unique name. On failure, deletes what has been stored of it, if the
    /// server can be reached.
    ///
    /// Not cancel safe: a dropped future leaves chunks behind. Run it in a task that is not aborted.
    pub async fn put(&self, id: ExchangeId, body: Bytes) -> Result<ObjectRef, BodyStoreError> {
        let name = new_name(id);
        match self.store(&name, body).await {
            Ok(Written { size, digest, .. }) => {
                Ok(ObjectRef { bucket: self.bucket.clone(), name, size, digest })
            }
            Err(error) => {
                if let Err(error) = self.purge(&name).await {
                    warn!(bucket = %self.bucket, %name, %error, "a part of a body could not be deleted");
                }
                Err(error.into())
            }
        }
    }

    /// Reads a whole body and checks its size and digest. Uses at most as much memory as the reference says.
    pub async fn get(&self, object: &ObjectRef) -> Result<Bytes, BodyStoreError> {
        if object.bucket != self.bucket {
            return Err(BodyStoreError::Missing);
        }
        let chunks = self.chunks(&object.name);
        let (mut body, mut check, mut sequence) = (Vec::new(), ObjectCheck::new(object.size), 1);
        while check.missing() > 0 {
            let chunk = match self.api.next_message(&self.stream, &chunks, sequence).await? {
                Some(chunk) => chunk,
                None if body.is_empty() => return Err(BodyStoreError::Missing),
                None => return Err(BodyStoreError::Corrupt),
            };
            let smallest = check.missing().min(SMALLEST_CHUNK as u64);
            if (chunk.payload.len() as u64) < smallest || !check.add(&chunk.payload) {
                return Err(BodyStoreError::Corrupt);
            }
            body.extend_from_slice(&chunk.payload);
            sequence = chunk.message.sequence + 1;
        }
        match check.digest() == Some(object.digest) {
            true => Ok(body.into()),
            false => Err(BodyStoreError::Corrupt),
        }
    }

    /// Deletes a body and its description. Succeeds if it does not exist.
    pub async fn delete(&self, object: &ObjectRef) -> Result<(), BodyStoreError> {
        if object.bucket != self.bucket {
            return Ok(());
        }
        Ok(self.purge(&object.name).await?)
    }

    /// The name of the bucket. References to other buckets are not followed.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn store(&self, name: &str, body: Bytes) -> Result<Written, ApiError> {
        let size = CHUNK.min(self.api.requester().client().server_info().max_payload).max(SMALLEST_CHUNK);
        let sink = BodySink { api: &self.api, subject: self.chunks(name) };
        let mut writer = ChunkWriter::new(sink, size, IN_FLIGHT);
        let written = writer.finish(body).await;
        writer.settle().await;
        let written = written?;
        let info = written.info(self.bucket.clone(), name.to_owned(), name_token(name));
        let subject = objects::meta_subject(&self.bucket, name);
        self.api.publish(subject, HeaderMap::new(), serde_json::to_vec(&info)?.into()).await?;
        Ok(written)
    }

    /// Deletes the chunks and the description.
    async fn purge(&self, name: &str) -> Result<(), ApiError> {
        self.api.purge(&self.stream, &format!("$O.{}.*.{}", self.bucket, name_token(name))).await
    }

    /// The subject of a body's chunks. In an object store this ends in a token that the description names. With the token of
    /// the description's own subject, the chunks are found without the description.
    fn chunks(&self, name: &str) -> String {
        objects::chunk_subject(&self.bucket, &name_token(name))
    }
}

/// The chunks of one body.
struct BodySink<'a> {
    api: &'a Api<Context>,
    subject: String,
}

impl ChunkSink for BodySink<'_> {
    type Sent = PublishAckFuture;
    type Error = ApiError;

    async fn send(&self, chunk: Bytes) -> Result<PublishAckFuture, ApiError> {
        self.api.start_publish(self.subject.clone(), HeaderMap::new(), chunk).await
    }

    async fn stored(&self, sent: PublishAckFuture) -> Result<(), ApiError> {
        self.api.stored(sent).await.map(drop)
    }
}

impl From<ApiError> for BodyStoreError {
    fn from(error: ApiError) -> Self {
        match error {
            error if error.is_full() => Self::Full,
            error => Self::Unavailable(error.to_string()),
        }
    }
}

fn new_name(id: ExchangeId) -> String {
    let mut random = [0; 10];
    rand::rng().fill_bytes(&mut random);
    format!("{id}-{}", BASE32_NOPAD.encode(&random).to_ascii_lowercase())
}
