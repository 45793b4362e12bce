mod reader;
mod sweep;
mod undeleted;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use narun_core::ExchangeId;
use narun_core::frame::ObjectRef;
use rand::Rng;

use super::api::{Api, ApiError};
use super::objects::{self, name_token};
use crate::permissions::Denied;

pub use reader::{BodyChunk, BodyReader};
pub use undeleted::UndeletedBodies;
pub use upload::BodyUpload;

/// The bucket of bodies: request bodies that do not fit in a message, as objects of a NATS object store.
#[derive(Clone, Debug)]
pub struct BodyStore {
    api: Api<Context>,
    bucket: String,
    stream: String,
    undeleted: Arc<UndeletedBodies>,
}

/// How many bytes the bucket of bodies can take. Both are `u64::MAX` if it has no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketRoom {
    /// In all.
    pub limit: u64,
    /// Now.
    pub left: u64,
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
    /// The user lacks a permission.
    #[error(transparent)]
    NotPermitted(Denied),
    /// There was no response, no connection or no leader, or the server refused: a retry may succeed.
    #[error("the bucket of bodies cannot be reached: {0}")]
    Unavailable(String),
}

/// The fewest bytes of a chunk, except for the last: a body must not be a million messages.
const SMALLEST_CHUNK: usize = 4 * 1024;

/// What a body takes in the bucket, however short it is: a chunk's subject and the description.
const OVERHEAD: u64 = 2 * 1024;

/// How long a chunk may take to be stored.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

impl BodyStore {
    pub(super) fn new(api: Api<Context>, bucket: String, undeleted: Arc<UndeletedBodies>) -> Self {
        Self { api, stream: objects::stream_name(&bucket), bucket, undeleted }
    }

    /// How many bytes the bucket can take.
    pub async fn room(&self) -> Result<BucketRoom, BodyStoreError> {
        let info = self.api.stream_info(&self.stream).await?;
        let limit = u64::try_from(info.config.max_bytes).ok().filter(|limit| *limit > 0);
        Ok(limit.map_or(BucketRoom { limit: u64::MAX, left: u64::MAX }, |limit| BucketRoom {
            limit,
            left: limit.saturating_sub(info.state.bytes),
        }))
    }

    /// How many bytes of the bucket a body of this length takes, at most: each chunk has a subject, and a description
    /// follows the last one.
    pub const fn stored_size(length: u64) -> u64 {
        length.saturating_add(length / 32).saturating_add(OVERHEAD)
    }

    /// Begins to store a body of the request `id`, under a unique name. Sends nothing.
    pub fn upload(&self, id: ExchangeId) -> BodyUpload {
        BodyUpload::new(self.clone(), new_name(id))
    }

    /// Stores a whole body of the request `id` under a unique name. On failure, deletes what has been stored of it, if the
    /// server can be reached.
    ///
    /// Not cancel safe: a dropped future leaves chunks behind. Run it in a task that is not aborted.
    pub async fn put(&self, id: ExchangeId, body: Bytes) -> Result<ObjectRef, BodyStoreError> {
        let mut upload = self.upload(id);
        match upload.finish(body).await {
            Ok(object) => Ok(object),
            Err(error) => {
                upload.discard().await;
                Err(error)
            }
        }
    }

    /// Begins to read a body, chunk by chunk. Sends nothing.
    ///
    /// # Errors
    ///
    /// [`BodyStoreError::Missing`] if the reference is to another bucket, [`BodyStoreError::Corrupt`] if it is invalid.
    pub fn read(&self, object: &ObjectRef) -> Result<BodyReader, BodyStoreError> {
        if object.bucket != self.bucket {
            return Err(BodyStoreError::Missing);
        }
        BodyReader::new(self.clone(), object)
    }

    /// Reads a whole body and checks its size and digest. Uses at most as much memory as the reference says.
    pub async fn get(&self, object: &ObjectRef) -> Result<Bytes, BodyStoreError> {
        let mut reader = self.read(object)?;
        let mut body = Vec::new();
        while reader.left() > 0 {
            let chunk = reader.fetch().await?;
            body.extend_from_slice(&reader.accept(chunk)?);
        }
        Ok(body.into())
    }

    /// Deletes a body and its description. Succeeds if it does not exist.
    pub async fn delete(&self, object: &ObjectRef) -> Result<(), BodyStoreError> {
        if object.bucket != self.bucket {
            return Ok(());
        }
        Ok(self.purge(&name_token(&object.name)).await?)
    }

    /// The log of bodies that could not be deleted.
    pub fn undeleted(&self) -> &UndeletedBodies {
        &self.undeleted
    }

    /// The name of the bucket. References to other buckets are not followed.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Deletes the chunks and the description of the body whose name has this token.
    async fn purge(&self, token: &str) -> Result<(), ApiError> {
        self.api.purge(&self.stream, &format!("$O.{}.*.{token}", self.bucket)).await
    }

    /// The subject of a body's chunks. In an object store this ends in a token that the description names. With the token of
    /// the description's own subject, the chunks are found without the description.
    fn chunks(&self, name: &str) -> String {
        objects::chunk_subject(&self.bucket, &name_token(name))
    }
}

impl From<ApiError> for BodyStoreError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Denied(denied) => Self::NotPermitted(denied),
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
