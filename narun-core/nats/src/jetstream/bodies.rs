use std::collections::{HashMap, VecDeque};

use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::{ObjectInfo, ObjectOptions};
use async_nats::{HeaderMap, datetime};
use bytes::Bytes;
use data_encoding::{BASE32_NOPAD, BASE64URL};
use futures::future::join_all;
use rand::Rng;
use sha2::{Digest, Sha256};
use tracing::warn;

use super::api::{Api, ApiError};

use narun_core::ExchangeId;
use narun_core::frame::ObjectRef;

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

/// Bytes of a chunk, as clients of object stores make them.
const CHUNK: usize = 128 * 1024;

/// Bytes that each chunk but the last must have when it is read, so that a body does not come as a million messages.
const SMALLEST_CHUNK: usize = 4 * 1024;

/// Chunks that are under way at once.
const IN_FLIGHT: usize = 8;

impl BodyStore {
    pub(super) fn new(api: Api<Context>, bucket: String) -> Self {
        Self { api, stream: format!("OBJ_{bucket}"), bucket }
    }

    /// Stores a body of the request `id`, under a name that nobody else uses. What was stored of it is deleted again
    /// if that fails, as far as the server can be reached.
    ///
    /// Dropped in the middle, the future leaves behind what was stored until then: run it in a task that is not aborted.
    pub async fn put(&self, id: ExchangeId, body: Bytes) -> Result<ObjectRef, BodyStoreError> {
        let object = ObjectRef {
            bucket: self.bucket.clone(),
            name: new_name(id),
            size: body.len() as u64,
            digest: Sha256::digest(&body).into(),
        };
        match self.store(&object, body).await {
            Ok(()) => Ok(object),
            Err(error) => {
                if let Err(error) = self.delete(&object).await {
                    warn!(bucket = %object.bucket, name = %object.name, %error, "a part of a body stays behind");
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
        let chunks = self.subject("C", object);
        let (mut body, mut digest, mut sequence) = (Vec::new(), Sha256::new(), 1);
        while (body.len() as u64) < object.size {
            let chunk = match self.api.next_message(&self.stream, &chunks, sequence).await? {
                Some(chunk) => chunk,
                None if body.is_empty() => return Err(BodyStoreError::Missing),
                None => return Err(BodyStoreError::Corrupt),
            };
            let missing = object.size - body.len() as u64;
            let length = chunk.payload.len() as u64;
            if length > missing || length < missing.min(SMALLEST_CHUNK as u64) {
                return Err(BodyStoreError::Corrupt);
            }
            body.extend_from_slice(&chunk.payload);
            digest.update(&chunk.payload);
            sequence = chunk.message.sequence + 1;
        }
        match <[u8; 32]>::from(digest.finalize()) == object.digest {
            true => Ok(body.into()),
            false => Err(BodyStoreError::Corrupt),
        }
    }

    /// Deletes a body, with all its traces. It is no error if it is not there.
    pub async fn delete(&self, object: &ObjectRef) -> Result<(), BodyStoreError> {
        if object.bucket != self.bucket {
            return Ok(());
        }
        // The chunks and what describes them.
        Ok(self.api.purge(&self.stream, &self.subject("*", object)).await?)
    }

    /// The bucket's name, which references must have.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn store(&self, object: &ObjectRef, mut body: Bytes) -> Result<(), ApiError> {
        let subject = self.subject("C", object);
        let size = CHUNK.min(self.api.requester().client().server_info().max_payload).max(SMALLEST_CHUNK);
        let chunks = body.len().div_ceil(size);
        let (mut stored, mut under_way) = (Ok(()), VecDeque::with_capacity(IN_FLIGHT));
        while stored.is_ok() && !body.is_empty() {
            let chunk = body.split_to(size.min(body.len()));
            match self.api.start_publish(subject.clone(), HeaderMap::new(), chunk).await {
                Ok(ack) => under_way.push_back(ack),
                Err(error) => stored = Err(error),
            }
            if under_way.len() == IN_FLIGHT
                && let Some(first) = under_way.pop_front()
            {
                stored = stored.and(self.api.stored(first).await.map(drop));
            }
        }
        // After a failure too: what is still under way would be stored after the rest has been deleted.
        for last in join_all(under_way.into_iter().map(|ack| self.api.stored(ack))).await {
            stored = stored.and(last.map(drop));
        }
        stored?;
        self.describe(object, chunks, size).await
    }

    /// Stores what makes the chunks an object for all clients.
    async fn describe(&self, object: &ObjectRef, chunks: usize, chunk_size: usize) -> Result<(), ApiError> {
        let info = ObjectInfo {
            name: object.name.clone(),
            description: None,
            metadata: HashMap::new(),
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(chunk_size) }),
            bucket: object.bucket.clone(),
            nuid: token(object),
            size: usize::try_from(object.size).unwrap_or(usize::MAX),
            chunks,
            modified: Some(datetime::now()),
            digest: Some(format!("SHA-256={}", BASE64URL.encode(&object.digest))),
            deleted: false,
        };
        let info = serde_json::to_vec(&info)?;
        let subject = self.subject("M", object);
        self.api.publish(subject, HeaderMap::new(), info.into()).await.map(drop)
    }

    fn subject(&self, part: &str, object: &ObjectRef) -> String {
        format!("$O.{}.{part}.{}", self.bucket, token(object))
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

/// What an object's subjects end in. Object stores have the name there, encoded, for the description, and any unique
/// token for the chunks; with the same for both, nobody has to look it up.
fn token(object: &ObjectRef) -> String {
    BASE64URL.encode(object.name.as_bytes())
}
