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
struct Before {
    /// The sequence of its message; 0 if there is no message.
    sequence: u64,
    current: Current,
}

/// What a name stands for.
pub(super) enum Current {
    Nothing,
    /// An object, or a link to one.
    Object(Box<ObjectInfo>),
    /// Another client has written a description that cannot be read.
    Unreadable,
}

impl MethodCall<'_> {
    /// The description of an object, and the bucket that it is in: that of another name if this one is a link to it. Returns
    /// `None` if the object does not exist, or is not the tenant's.
    pub(super) async fn object(
        &self,
        bucket: Bucket,
        object: &str,
    ) -> Result<Option<(Bucket, ObjectInfo)>, Status> {
        let Some(info) = self.description(&bucket, object).await? else { return Ok(None) };
        let Some((target, object)) = info.link() else { return Ok(Some((bucket, info))) };
        // It may be another tenant's, or a whole bucket.
        let own = self.tenant().own_object_bucket(target).filter(|_| !object.is_empty());
        let Some(bucket) = own.and_then(|own| Bucket::new(self.tenant(), own).ok()) else { return Ok(None) };
        let info = self.description(&bucket, object).await?;
        // There are no links to links.
        Ok(info.filter(|info| info.link().is_none()).map(|info| (bucket, info)))
    }

    async fn description(&self, bucket: &Bucket, object: &str) -> Result<Option<ObjectInfo>, Status> {
        let subject = bucket.meta(object)?;
        if !self.has_bucket(&bucket.stream).await? {
            return Ok(None);
        }
        let stream = self.connection().bucket(&bucket.stream).await?;
        let current = match stream.direct_get_last_for_subject(subject.as_str()).await {
            Ok(message) => read(&message.payload),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
            // There is no bucket, or it has no direct get, or there is no JetStream.
            Err(_) => self.before(bucket, &subject).await?.current,
        };
        match current {
            Current::Object(info) => Ok(Some(*info)),
            Current::Nothing => Ok(None),
            Current::Unreadable => Err(damaged()),
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
        next: impl Fn(&Current) -> Option<ObjectInfo>,
    ) -> Result<Option<ObjectInfo>, Status> {
        let subject = bucket.meta(object)?;
        let mut conflict = Status::aborted("other clients keep changing the object");
        for _ in 0..ATTEMPTS {
            let before = self.before(bucket, &subject).await?;
            let Some(info) = next(&before.current) else { return Ok(None) };
            match self.store_meta(bucket, &subject, &info, before.sequence).await {
                Ok(()) => {
                    // The object is replaced, even if old chunks remain.
                    if let Current::Object(before) = before.current
                        && is_token(&before.nuid)
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
            Some(message) => Ok(Before { sequence: message.sequence, current: read(&message.payload) }),
            None => Ok(Before { sequence: 0, current: Current::Nothing }),
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

fn read(payload: &Bytes) -> Current {
    match serde_json::from_slice::<ObjectInfo>(payload) {
        Ok(info) if info.deleted => Current::Nothing,
        Ok(info) => Current::Object(Box::new(info)),
        Err(_) => Current::Unreadable,
    }
}

/// Whether this is the token of an object's chunks, and not a wildcard or the empty one of a link.
fn is_token(nuid: &str) -> bool {
    !nuid.is_empty() && !nuid.contains(['.', '*', '>', ' '])
}
