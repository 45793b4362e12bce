use std::fmt::Display;
use std::ops::RangeBounds;
use std::str::FromStr;
use std::time::Duration;

use super::SettingsError;
use crate::tenancy::Scope;

/// The length of the shortest accepted secret, in bytes.
const SECRET: usize = 32;

/// Settings of the service. `None` means the default of the service.
#[derive(Clone)]
pub(crate) struct ServiceSettings {
    pub(crate) scope: Option<Scope>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) longest_timeout: Option<Duration>,
    pub(crate) message_limit: Option<usize>,
    pub(crate) response_limit: Option<usize>,
    #[cfg(feature = "gzip")]
    pub(crate) compress_responses: Option<bool>,
    pub(crate) queue_messages: Option<usize>,
    pub(crate) queue_bytes: Option<usize>,
    pub(crate) subscriber_memory: Option<usize>,
    pub(crate) subscriber_memory_per_tenant: Option<usize>,
    pub(crate) request_memory: Option<usize>,
    pub(crate) request_memory_per_connection: Option<usize>,
    pub(crate) ack_token_key: Option<String>,
    pub(crate) quota_streams: Option<usize>,
    pub(crate) quota_consumers: Option<usize>,
    pub(crate) quota_buckets: Option<usize>,
    pub(crate) quota_stored_bytes: Option<u64>,
    pub(crate) quota_reserved_bytes: Option<u64>,
    pub(crate) quota_subscriptions: Option<usize>,
    pub(crate) kv_history: Option<u8>,
    pub(crate) kv: BucketVariables,
    pub(crate) objects: BucketVariables,
}

/// What both kinds of buckets have.
#[derive(Clone)]
pub(crate) struct BucketVariables {
    pub(crate) max_age: Option<Duration>,
    pub(crate) memory: Option<bool>,
    pub(crate) replicas: Option<u8>,
}

impl ServiceSettings {
    pub(super) fn read(
        text: &impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
        flag: &impl Fn(&'static str, bool) -> Result<bool, SettingsError>,
    ) -> Result<Self, SettingsError> {
        let scopes = [("user", Scope::User), ("organization", Scope::Organization)];
        let size = |variable| number(text, variable, 1.., "a number, 1 or more");
        let quota = |variable| limit(text, variable, &usize::MAX);
        let ack_token_key = text("GRPC_ACK_TOKEN_KEY")?;
        if ack_token_key.as_ref().is_some_and(|key| key.len() < SECRET) {
            return Err(unreadable("GRPC_ACK_TOKEN_KEY", "32 bytes or more"));
        }
        #[cfg(not(feature = "gzip"))]
        let _ = flag;
        Ok(Self {
            scope: one_of(text, "GRPC_SCOPE", scopes, "user or organization")?,
            timeout: seconds(text, "GRPC_TIMEOUT_SECONDS")?,
            longest_timeout: seconds(text, "GRPC_LONGEST_TIMEOUT_SECONDS")?,
            message_limit: size("GRPC_MESSAGE_LIMIT")?,
            response_limit: size("GRPC_RESPONSE_LIMIT")?,
            #[cfg(feature = "gzip")]
            compress_responses: match text("GRPC_COMPRESS_RESPONSES")? {
                Some(_) => Some(flag("GRPC_COMPRESS_RESPONSES", false)?),
                None => None,
            },
            queue_messages: size("GRPC_QUEUE_MESSAGES")?,
            queue_bytes: size("GRPC_QUEUE_BYTES")?,
            subscriber_memory: size("GRPC_SUBSCRIBER_MEMORY")?,
            subscriber_memory_per_tenant: size("GRPC_SUBSCRIBER_MEMORY_PER_TENANT")?,
            request_memory: size("GRPC_REQUEST_MEMORY")?,
            request_memory_per_connection: size("GRPC_REQUEST_MEMORY_PER_CONNECTION")?,
            ack_token_key,
            quota_streams: quota("GRPC_QUOTA_STREAMS")?,
            quota_consumers: quota("GRPC_QUOTA_CONSUMERS")?,
            quota_buckets: quota("GRPC_QUOTA_BUCKETS")?,
            quota_stored_bytes: limit(text, "GRPC_QUOTA_STORED_BYTES", &u64::MAX)?,
            quota_reserved_bytes: limit(text, "GRPC_QUOTA_RESERVED_BYTES", &u64::MAX)?,
            quota_subscriptions: quota("GRPC_QUOTA_SUBSCRIPTIONS")?,
            kv_history: number(text, "GRPC_KV_HISTORY", 1..=64, "a number, 1 to 64")?,
            kv: BucketVariables::read(
                text,
                "GRPC_KV_MAX_AGE_SECONDS",
                "GRPC_KV_STORAGE",
                "GRPC_KV_REPLICAS",
            )?,
            objects: BucketVariables::read(
                text,
                "GRPC_OBJECT_MAX_AGE_SECONDS",
                "GRPC_OBJECT_STORAGE",
                "GRPC_OBJECT_REPLICAS",
            )?,
        })
    }
}

impl BucketVariables {
    fn read(
        text: &impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
        max_age: &'static str,
        storage: &'static str,
        replicas: &'static str,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            max_age: seconds(text, max_age)?,
            memory: one_of(text, storage, [("file", false), ("memory", true)], "file or memory")?,
            replicas: number(text, replicas, 1..=5, "a number, 1 to 5")?,
        })
    }
}

const fn unreadable(variable: &'static str, expected: &'static str) -> SettingsError {
    SettingsError::Unreadable { variable, expected }
}

fn number<T: FromStr + PartialOrd>(
    text: &impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
    variable: &'static str,
    range: impl RangeBounds<T>,
    expected: &'static str,
) -> Result<Option<T>, SettingsError> {
    let Some(text) = text(variable)? else { return Ok(None) };
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.map(Some).ok_or_else(|| unreadable(variable, expected))
}

/// A number, or `unlimited`, which is the largest.
fn limit<T: FromStr + PartialOrd + Display>(
    text: &impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
    variable: &'static str,
    most: &T,
) -> Result<Option<T>, SettingsError> {
    let text =
        |variable| Ok(text(variable)?.map(|text| if text == "unlimited" { most.to_string() } else { text }));
    number(&text, variable, .., "a number, or unlimited")
}

fn seconds(
    text: &impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
    variable: &'static str,
) -> Result<Option<Duration>, SettingsError> {
    Ok(number(text, variable, 1.., "seconds, 1 or more")?.map(Duration::from_secs))
}

fn one_of<T, const N: usize>(
    text: &impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
    variable: &'static str,
    values: [(&str, T); N],
    expected: &'static str,
) -> Result<Option<T>, SettingsError> {
    let Some(text) = text(variable)? else { return Ok(None) };
    let found = values.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| Some(value)).ok_or_else(|| unreadable(variable, expected))
}
