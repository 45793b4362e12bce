//! KVPut, KVGet, KVDelete and KVKeys.
//!
//! A bucket is a stream, and a key one of its subjects: just what other NATS clients make of them, so that these can
//! use them too. They are asked for directly, as a client's own calls would look the bucket up first.

mod key;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_STREAM;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DirectGetErrorKind, DiscardPolicy};
use bytes::Bytes;
use futures::StreamExt;
use tonic::Status;

use self::key::{escape_key, unescape_key};
use crate::call::{Call, Unary};
use crate::convert::{date, header_length, saturating};
use crate::status::{self, OrStatus};
use crate::streams::if_found;
use crate::tenant::Tenant;
use crate::{BucketSettings, Method, pb};

/// What a delete marker has in its headers, as all NATS clients write it.
const OPERATION: &str = "KV-Operation";

/// A bucket's NATS names.
struct Bucket {
    name: String,
    stream: String,
}

impl Bucket {
    fn new(tenant: &Tenant, bucket: &str) -> Result<Self, Status> {
        let name = tenant.kv_bucket(bucket).map_err(|error| status::tenant(&error))?;
        Ok(Self { stream: format!("KV_{name}"), name })
    }

    /// The subject of a key.
    fn subject(&self, key: &str) -> Result<String, Status> {
        if key.is_empty() {
            return Err(Status::invalid_argument("a key is empty"));
        }
        let subject = format!("$KV.{}.{}", self.name, escape_key(key));
        match subject.len() {
            ..=Tenant::LONGEST_SUBJECT => Ok(subject),
            _ => Err(Status::invalid_argument("a key is too long")),
        }
    }

    fn config(&self, settings: &BucketSettings) -> Config {
        settings.apply(Config {
            name: self.stream.clone(),
            subjects: vec![format!("$KV.{}.>", self.name)],
            max_messages_per_subject: settings.values(),
            max_messages: -1,
            max_bytes: -1,
            max_message_size: -1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..Default::default()
        })
    }
}

/// The stream of a bucket and the subject of a key.
#[cfg(test)]
pub(crate) fn names(tenant: &Tenant, bucket: &str, key: &str) -> Result<(String, String), Status> {
    let bucket = Bucket::new(tenant, bucket)?;
    let subject = bucket.subject(key)?;
    Ok((bucket.stream, subject))
}

/// A key's last entry that is no delete marker.
struct Entry {
    value: Bytes,
    revision: u64,
    created: Option<prost_types::Timestamp>,
}

impl Call<'_> {
    async fn entry(&self, bucket: &Bucket, subject: &str) -> Result<Option<Entry>, Status> {
        if !self.has_bucket(&bucket.stream).await? {
            return Ok(None);
        }
        let stream = self.connection().bucket(&bucket.stream).await?;
        let message = match stream.direct_get_last_for_subject(subject).await {
            Ok(message) => message,
            Err(error) => match error.kind() {
                DirectGetErrorKind::NotFound => return Ok(None),
                DirectGetErrorKind::TimedOut => return Err(status::jetstream_late()),
                // No bucket; one that was made so that it does not answer directly; or no JetStream.
                _ => match if_found(stream.get_last_raw_message_by_subject(subject).await.or_status())? {
                    Some(message) => message,
                    None => return Ok(None),
                },
            },
        };
        let live = message.headers.get(OPERATION).is_none();
        let created = date(message.time);
        Ok(live.then_some(Entry { value: message.payload, revision: message.sequence, created }))
    }

    /// Stores under a key, and gives the revision.
    async fn store(
        &self,
        bucket: &Bucket,
        subject: String,
        mut headers: HeaderMap,
        value: Bytes,
    ) -> Result<u64, Status> {
        headers.insert(NATS_EXPECTED_STREAM, bucket.stream.as_str());
        self.fits(header_length(Some(&headers)) + value.len())?;
        self.connection().mark()?;
        let jetstream = self.connection().jetstream()?;
        if !self.has_bucket(&bucket.stream).await? {
            self.make_bucket(&bucket.config(&self.shared.kv_buckets)).await?;
        }
        let stored = async || {
            let message = PublishMessage::build().payload(value.clone()).headers(headers.clone());
            jetstream.send_publish(subject.clone(), message).await?.await
        };
        let result = match stored().await {
            // It has just been deleted.
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => {
                self.make_bucket(&bucket.config(&self.shared.kv_buckets)).await?;
                stored().await
            }
            result => result,
        };
        Ok(result.or_status()?.sequence)
    }
}

impl Unary for pb::KvPutRequest {
    const METHOD: Method = Method::KVPut;
    type Response = pb::KvPutResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::KvPutResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let (subject, size) = (bucket.subject(&self.key)?, self.value.len());
        call.room_for(size).await?;
        let revision = call.store(&bucket, subject, HeaderMap::new(), self.value).await?;
        call.received(1, size);
        Ok(pb::KvPutResponse { success: true, revision: saturating(revision) })
    }
}

impl Unary for pb::KvGetRequest {
    const METHOD: Method = Method::KVGet;
    type Response = pb::KvGetResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::KvGetResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let entry = call.entry(&bucket, &bucket.subject(&self.key)?).await?;
        Ok(entry.map_or_else(pb::KvGetResponse::default, |Entry { value, revision, created }| {
            call.sent(1, value.len());
            pb::KvGetResponse { found: true, value, revision: saturating(revision), created }
        }))
    }
}

impl Unary for pb::KvDeleteRequest {
    const METHOD: Method = Method::KVDelete;
    type Response = pb::KvDeleteResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::KvDeleteResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let subject = bucket.subject(&self.key)?;
        if call.entry(&bucket, &subject).await?.is_none() {
            return Ok(pb::KvDeleteResponse { success: false });
        }
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        call.store(&bucket, subject, headers, Bytes::new()).await?;
        Ok(pb::KvDeleteResponse { success: true })
    }
}

impl Unary for pb::KvKeysRequest {
    const METHOD: Method = Method::KVKeys;
    type Response = pb::KvKeysResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::KvKeysResponse, Status> {
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
        let (mut keys, mut room) = (Vec::new(), call.shared.message_limit);
        while let Some(key) = names.next().await {
            // Those that somebody else in the account has put under a name that this would write otherwise are not told.
            let Some(key) = unescape_key(&key.map_err(|error| failed(&error))?) else { continue };
            let full = || Status::resource_exhausted("more keys than an answer can have");
            room = room.checked_sub(key.len() + 8).ok_or_else(full)?;
            keys.push(key);
        }
        keys.sort_unstable();
        Ok(pb::KvKeysResponse { keys })
    }
}
