//! KVPut, KVGet, KVDelete, KVKeys, KVHistory and KVWatch.
//!
//! A bucket is a stream, and a key is one of its subjects, as NATS clients have it (ADR-8): other clients can use the
//! same buckets. Values are read and written directly: async-nats's key-value store would look the bucket up each time.

mod bucket;
mod history;
mod key;
mod operation;
mod watch;

use async_nats::HeaderMap;
use async_nats::header::{
    HeaderValue, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM, NATS_ROLLUP,
};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use futures::StreamExt;
use tonic::{Code, Status};

use self::bucket::Bucket;
#[cfg(test)]
pub(crate) use self::bucket::names;
use self::key::unescape_key;
use self::operation::{OPERATION, operation};
use crate::call::{MethodCall, OnLoss, Unary};
use crate::convert::{date, header_length, saturating};
use crate::status::if_found;
use crate::status::{self, IntoStatus, OrStatus};
use crate::{Method, pb};

/// The last entry of a key.
struct Entry {
    operation: pb::KvOperation,
    value: Bytes,
    revision: u64,
    created: Option<prost_types::Timestamp>,
}

impl MethodCall<'_> {
    async fn latest(&self, bucket: &Bucket, subject: &str) -> Result<Option<Entry>, Status> {
        if !self.has_bucket(&bucket.stream).await? {
            return Ok(None);
        }
        let stream = self.connection().bucket(&bucket.stream).await?;
        let message = match stream.direct_get_last_for_subject(subject).await {
            Ok(message) => message,
            Err(error) => match error.kind() {
                DirectGetErrorKind::NotFound => return Ok(None),
                DirectGetErrorKind::TimedOut => return Err(status::jetstream_late()),
                // There is no bucket, or it has no direct get, or there is no JetStream.
                _ => match if_found(stream.get_last_raw_message_by_subject(subject).await.or_status())? {
                    Some(message) => message,
                    None => return Ok(None),
                },
            },
        };
        Ok(Some(Entry {
            operation: operation(&message.headers),
            created: date(message.time),
            revision: message.sequence,
            value: message.payload,
        }))
    }

    /// Stores a key that does not exist or was deleted, and returns the revision.
    async fn create(&self, bucket: &Bucket, subject: String, value: Bytes) -> Result<u64, Status> {
        let exists = || Status::already_exists("the key exists");
        match self.store(bucket, subject.clone(), expecting(Some(0)), value.clone()).await {
            Err(status) if status.code() == Code::Aborted => {}
            result => return result,
        }
        // The last entry may be a delete marker.
        let revision = match self.latest(bucket, &subject).await? {
            Some(entry) if entry.operation == pb::KvOperation::OperationPut => return Err(exists()),
            entry => entry.map_or(0, |entry| entry.revision),
        };
        match self.store(bucket, subject, expecting(Some(revision)), value).await {
            Err(status) if status.code() == Code::Aborted => Err(exists()),
            result => result,
        }
    }

    /// Stores a key, and returns the revision.
    async fn store(
        &self,
        bucket: &Bucket,
        subject: String,
        mut headers: HeaderMap,
        value: Bytes,
    ) -> Result<u64, Status> {
        headers.insert(NATS_EXPECTED_STREAM, bucket.stream.as_str());
        self.check_payload_size(header_length(Some(&headers)) + value.len())?;
        self.connection().mark()?;
        let jetstream = self.connection().jetstream()?;
        let subject = self.connection().kv_subject(subject);
        if !self.has_bucket(&bucket.stream).await? {
            self.make_bucket(&bucket.config(&self.state.kv_buckets)).await?;
        }
        let stored = async || {
            let message = PublishMessage::build().payload(value.clone()).headers(headers.clone());
            jetstream.send_publish(subject.clone(), message).await?.await
        };
        let result = match stored().await {
            // The bucket was deleted since the look-up.
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                self.make_bucket(&bucket.config(&self.state.kv_buckets)).await?;
                stored().await
            }
            result => result,
        };
        result.map(|ack| ack.sequence).map_err(|error| match status::is_mismatch(&error) {
            true => mismatch(),
            false => error.into_status(),
        })
    }
}

/// The revision that a request expects.
fn expected(revision: Option<i64>) -> Result<Option<u64>, Status> {
    let negative = |_| Status::invalid_argument("expected_revision is negative");
    revision.map(|revision| u64::try_from(revision).map_err(negative)).transpose()
}

fn mismatch() -> Status {
    Status::aborted("the key is not at the expected revision")
}

/// The headers of a message that is only stored if this is the last revision of its key.
fn expecting(revision: Option<u64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(revision) = revision {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(revision));
    }
    headers
}

impl Unary for pb::KvPutRequest {
    const METHOD: Method = Method::KVPut;
    type Response = pb::KvPutResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::KvPutResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let (subject, size) = (bucket.subject(&self.key)?, self.value.len());
        let expected = expected(self.expected_revision)?;
        call.check_stored_message(&subject, size).await?;
        let revision = match expected {
            // Boxed: it stores twice, and would make the future of every put larger.
            Some(0) => Box::pin(call.create(&bucket, subject, self.value)).await?,
            // No bucket is created for an expectation that cannot hold.
            Some(_) if !call.has_bucket(&bucket.stream).await? => return Err(mismatch()),
            expected => call.store(&bucket, subject, expecting(expected), self.value).await?,
        };
        call.received(1, size);
        Ok(pb::KvPutResponse { success: true, revision: saturating(revision) })
    }
}

impl Unary for pb::KvGetRequest {
    const METHOD: Method = Method::KVGet;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::KvGetResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::KvGetResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let entry = call.latest(&bucket, &bucket.subject(&self.key)?).await?;
        let entry = entry.filter(|entry| entry.operation == pb::KvOperation::OperationPut);
        Ok(entry.map_or_else(pb::KvGetResponse::default, |Entry { value, revision, created, .. }| {
            call.sent(1, value.len());
            pb::KvGetResponse { found: true, value, revision: saturating(revision), created }
        }))
    }
}

impl Unary for pb::KvDeleteRequest {
    const METHOD: Method = Method::KVDelete;
    type Response = pb::KvDeleteResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::KvDeleteResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let subject = bucket.subject(&self.key)?;
        let expected = expected(self.expected_revision)?;
        if expected == Some(0) {
            return Err(Status::invalid_argument(
                "expected_revision is 0, which means that there is no key to delete",
            ));
        }
        let entry = call.latest(&bucket, &subject).await?;
        let is_there = entry.is_some_and(|entry| match entry.operation {
            pb::KvOperation::OperationPut => true,
            // There may be values before the marker.
            pb::KvOperation::OperationDelete => self.purge,
            pb::KvOperation::OperationPurge => false,
        });
        if !is_there {
            return Ok(pb::KvDeleteResponse { success: false });
        }
        let mut headers = expecting(expected);
        headers.insert(OPERATION, if self.purge { "PURGE" } else { "DEL" });
        if self.purge {
            headers.insert(NATS_ROLLUP, "sub");
        }
        call.store(&bucket, subject, headers, Bytes::new()).await?;
        Ok(pb::KvDeleteResponse { success: true })
    }
}

impl Unary for pb::KvKeysRequest {
    const METHOD: Method = Method::KVKeys;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::KvKeysResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::KvKeysResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        if !call.has_bucket_now(&bucket.stream).await? {
            return Ok(pb::KvKeysResponse::default());
        }
        let failed = |error: &(dyn std::error::Error + 'static)| {
            status::from_source(error, "the keys could not be listed")
        };
        let store = call.connection().jetstream()?.get_key_value(&bucket.name).await;
        let store = store.map_err(|error| failed(&error))?;
        let mut names = store.keys().await.map_err(|error| failed(&error))?;
        let (mut keys, mut room) = (Vec::new(), call.state.response_limit);
        while let Some(key) = names.next().await {
            // A name that is no escaped key was put by another client of the account: skipped.
            let Some(key) = unescape_key(&key.map_err(|error| failed(&error))?) else { continue };
            let full = || Status::resource_exhausted("more keys than fit a response");
            room = room.checked_sub(key.len() + 8).ok_or_else(full)?;
            keys.push(key);
        }
        keys.sort_unstable();
        Ok(pb::KvKeysResponse { keys })
    }
}
