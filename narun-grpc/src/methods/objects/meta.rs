//! The description of an object: its last version, and where its chunks are.

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM, NATS_ROLLUP};
use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use narun_nats::jetstream::objects::ObjectInfo;
use serde_json::Value;
use tonic::{Code, Status};
use tracing::warn;

use super::bucket::{Bucket, damaged};
use crate::call::MethodCall;
use crate::status::OrStatus;
use crate::status::if_found;

/// Attempts to change an object that other clients change at the same time: one of them succeeds each time.
const ATTEMPTS: usize = 64;

/// The description before a change.
#[derive(Default)]
struct Before {
    /// The sequence of its message; 0 if there is no message.
    sequence: u64,
    object: Option<ObjectInfo>,
}

impl MethodCall<'_> {
    /// The description of an object. Returns `None` if the object does not exist.
    pub(super) async fn object(&self, bucket: &Bucket, object: &str) -> Result<Option<ObjectInfo>, Status> {
        let subject = bucket.meta(object)?;
        if !self.has_bucket(&bucket.stream).await? {
            return Ok(None);
        }
        let stream = self.connection().bucket(&bucket.stream).await?;
        match stream.direct_get_last_for_subject(subject.as_str()).await {
            Ok(message) => read(&message.payload),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            // There is no bucket, or it has no direct get, or there is no JetStream.
            Err(_) => Ok(self.before(bucket, &subject).await?.object),
        }
    }

    /// Replaces the description by what `next` returns, and removes the chunks of the previous version. Returns `None` if
    /// `next` does.
    ///
    /// If another client changes the object at the same time, it is read again and `next` is called again. Otherwise
    /// chunks could remain that belong to no object.
    pub(super) async fn replace(
        &self,
        bucket: &Bucket,
        object: &str,
        next: impl Fn(Option<&ObjectInfo>) -> Option<ObjectInfo>,
    ) -> Result<Option<ObjectInfo>, Status> {
        let subject = bucket.meta(object)?;
        let mut conflict = Status::aborted("other clients keep changing the object");
        for _ in 0..ATTEMPTS {
            let before = self.before(bucket, &subject).await?;
            let Some(info) = next(before.object.as_ref()) else { return Ok(None) };
            match self.store_meta(bucket, &subject, &info, before.sequence).await {
                Ok(()) => {
                    // The object is replaced, even if old chunks remain.
                    if let Some(before) = before.object
                        && let Err(error) = self.purge(bucket, &before.nuid).await
                    {
                        warn!(%error, "the chunks of an old object version were not removed");
                    }
                    return Ok(Some(info));
                }
                Err(status) if status.code() == Code::FailedPrecondition => conflict = status,
                Err(status) => return Err(status),
            }
        }
        Err(conflict)
    }

    /// Reads the description from the stream's leader.
    async fn before(&self, bucket: &Bucket, subject: &str) -> Result<Before, Status> {
        self.connection().mark()?;
        let stream = self.connection().bucket(&bucket.stream).await?;
        match if_found(stream.get_last_raw_message_by_subject(subject).await.or_status())? {
            Some(message) => Ok(Before { sequence: message.sequence, object: read(&message.payload)? }),
            None => Ok(Before::default()),
        }
    }

    async fn store_meta(
        &self,
        bucket: &Bucket,
        subject: &str,
        info: &ObjectInfo,
        before: u64,
    ) -> Result<(), Status> {
        let payload = serde_json::to_vec(info).map_err(|_| Status::internal("no JSON"))?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_ROLLUP, "sub");
        headers.insert(NATS_EXPECTED_STREAM, bucket.stream.as_str());
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, before.to_string().as_str());
        self.check_payload_size(crate::convert::header_length(Some(&headers)) + payload.len())?;
        let context = self.connection().jetstream()?;
        let stored =
            context.publish_with_headers(subject.to_owned(), headers, payload.into()).await.or_status()?;
        stored.await.or_status().map(drop)
    }

    async fn purge(&self, bucket: &Bucket, id: &str) -> Result<(), Status> {
        let (subject, request) = bucket.purge(id);
        self.connection().api::<Value>(subject, &request).await.map(drop)
    }
}

fn read(payload: &Bytes) -> Result<Option<ObjectInfo>, Status> {
    let info: ObjectInfo = serde_json::from_slice(payload).map_err(|_| damaged())?;
    // A link may point to another tenant's object. The service makes no links.
    let is_link = info.options.as_ref().is_some_and(|options| options.link.is_some());
    Ok((!info.deleted && !is_link).then_some(info))
}
