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

/// Bodies that do not fit a message, as objects of a NATS object store.
#[derive(Clone, Debug)]
pub struct BodyStore {
    api: Api<Context>,
    bucket: String,
    stream: String,
}

/// Why a body was not stored, read or deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyStoreError {
    /// There is no such object.
    #[error("the body is not there any more")]
    Missing,
    /// It is not what the reference says: size or digest differ.
    #[error("the body is not the one that was stored")]
    Corrupt,
    /// The bucket is full.
    #[error("the bucket of bodies is full")]
    Full,
    /// No answer, no connection, no leader: worth trying again.
    #[error("the bucket of bodies cannot be reached: {0}")]
    Unavailable(String),
}

/// Bytes that each chunk but the last must have when it is read, so that a body does not come as a million messages.
const SMALLEST_CHUNK: usize = 4 * 1024;

/// Chunks that are under way at once.
const IN_FLIGHT: usize = 8;

impl BodyStore {
    pub(super) fn new(api: Api<Context>, bucket: String) -> Self {
        Self { api, stream: objects::stream_name(&bucket), bucket }
    }

    /// Stores a body of the request `id`, under a name that nobody else uses. What was stored of it is deleted again
    /// if that fails, as far as the server can be reached.
    ///
    /// Dropped in the middle, the future leaves behind what was stored until then: run it in a task that is not aborted.
    pub async fn put(&self, id: ExchangeId, body: Bytes) -> Result<ObjectRef, BodyStoreError> {
        let name = new_name(id);
        match self.store(&name, body).await {
            Ok(Written { size, digest, .. }) => {
                Ok(ObjectRef { bucket: self.bucket.clone(), name, size, digest })
            }
            Err(error) => {
                if let Err(error) = self.purge(&name).await {
                    warn!(bucket = %self.bucket, %name, %error, "a part of a body stays behind");
                }
                Err(error.into())
            }
        }
    }

    /// Reads a body whole, and checks it. Takes as much memory as the reference says, at most.
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

    /// Deletes a body, with all its traces. It is no error if it is not there.
    pub async fn delete(&self, object: &ObjectRef) -> Result<(), BodyStoreError> {
        if object.bucket != self.bucket {
            return Ok(());
        }
        Ok(self.purge(&object.name).await?)
    }

    /// The bucket's name, which references must have.
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

    /// The subject of a body's chunks. Object stores have the encoded name in the subject of the description, and any unique
    /// token in that of the chunks; with the same token in both, nobody has to look it up.
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
