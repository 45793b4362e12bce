use async_nats::jetstream::stream::{Config, DiscardPolicy};
use tonic::Status;

use super::key::escape_key;
use crate::BucketSettings;
use crate::status::OrStatus;
use crate::tenant::Tenant;

/// The NATS names of a key-value bucket.
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) stream: String,
}

impl Bucket {
    pub(super) fn new(tenant: &Tenant, bucket: &str) -> Result<Self, Status> {
        let name = tenant.kv_bucket(bucket).or_status()?;
        Ok(Self { stream: format!("KV_{name}"), name })
    }

    /// The subject of a key.
    pub(super) fn subject(&self, key: &str) -> Result<String, Status> {
        if key.is_empty() {
            return Err(Status::invalid_argument("the key is empty"));
        }
        let subject = format!("$KV.{}.{}", self.name, escape_key(key));
        match subject.len() {
            ..=Tenant::LONGEST_SUBJECT => Ok(subject),
            _ => Err(Status::invalid_argument("the key is too long")),
        }
    }

    pub(super) fn config(&self, settings: &BucketSettings) -> Config {
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

/// The stream of a bucket, and the subject of a key.
#[cfg(test)]
pub(crate) fn names(tenant: &Tenant, bucket: &str, key: &str) -> Result<(String, String), Status> {
    let bucket = Bucket::new(tenant, bucket)?;
    let subject = bucket.subject(key)?;
    Ok((bucket.stream, subject))
}
