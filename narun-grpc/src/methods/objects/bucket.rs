use async_nats::jetstream::stream::{Config, DiscardPolicy};
use narun_nats::jetstream::objects::{chunk_subject, meta_subject, stream_name, stream_subjects};
use serde_json::{Value, json};
use tonic::Status;

use crate::BucketSettings;
use crate::status::OrStatus;
use crate::tenant::Tenant;

/// The NATS names of an object bucket.
#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) stream: String,
}

impl Bucket {
    pub(super) fn new(tenant: &Tenant, bucket: &str) -> Result<Self, Status> {
        let name = tenant.object_bucket(bucket).or_status()?;
        Ok(Self { stream: stream_name(&name), name })
    }

    /// The subject of an object's description.
    pub(super) fn meta(&self, object: &str) -> Result<String, Status> {
        if object.is_empty() {
            return Err(Status::invalid_argument("the object name is empty"));
        }
        let subject = meta_subject(&self.name, object);
        match subject.len() {
            ..=Tenant::LONGEST_SUBJECT => Ok(subject),
            _ => Err(Status::invalid_argument("the object name is too long")),
        }
    }

    /// The subject of the chunks of an object's version.
    pub(super) fn chunks(&self, id: &str) -> String {
        chunk_subject(&self.name, id)
    }

    /// The JetStream API subject and request that remove these chunks.
    pub(super) fn purge(&self, id: &str) -> (String, Value) {
        (format!("STREAM.PURGE.{}", self.stream), json!({ "filter": self.chunks(id) }))
    }

    pub(super) fn config(&self, settings: &BucketSettings) -> Config {
        settings.apply(Config {
            name: self.stream.clone(),
            subjects: stream_subjects(&self.name),
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            allow_direct: true,
            ..Default::default()
        })
    }
}

/// The stream of a bucket, and the subjects of an object's description and chunks.
#[cfg(test)]
pub(crate) fn names(tenant: &Tenant, bucket: &str, object: &str) -> Result<(String, String, String), Status> {
    let bucket = Bucket::new(tenant, bucket)?;
    let (meta, chunks) = (bucket.meta(object)?, bucket.chunks("id"));
    Ok((bucket.stream, meta, chunks))
}

pub(super) fn damaged() -> Status {
    Status::data_loss("the object is damaged")
}
