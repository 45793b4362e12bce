use std::num::{NonZeroU8, NonZeroU64};

use narun_nats::jetstream::{Storage, StreamSettings};

use super::value::{Age, FromText, given, given_text};

/// The keys of `stream`: how the streams and buckets of durable requests are declared.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamKeys {
    #[serde(default, deserialize_with = "given_text")]
    storage: Option<Storage>,
    #[serde(default, deserialize_with = "given")]
    replicas: Option<NonZeroU8>,
    #[serde(default, deserialize_with = "given")]
    max_messages: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "given")]
    max_bytes: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "given")]
    bodies_max_bytes: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "given")]
    outcomes_max_bytes: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "given")]
    dead_letters_max_bytes: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "given")]
    max_age_seconds: Option<Age>,
    #[serde(default, deserialize_with = "given")]
    duplicate_window_seconds: Option<Age>,
    #[serde(default, deserialize_with = "given")]
    outcome_ttl_seconds: Option<Age>,
    #[serde(default, deserialize_with = "given")]
    declare: Option<bool>,
    #[serde(default, deserialize_with = "given_text")]
    domain: Option<String>,
}

impl From<StreamKeys> for StreamSettings {
    fn from(keys: StreamKeys) -> Self {
        let set = |settings: Self, value: Option<NonZeroU64>, set: fn(Self, u64) -> Self| match value {
            Some(value) => set(settings, value.get()),
            None => settings,
        };
        let mut settings = Self::new();
        settings = set(settings, keys.max_messages, Self::max_messages);
        settings = set(settings, keys.max_bytes, Self::max_bytes);
        settings = set(settings, keys.bodies_max_bytes, Self::bodies_max_bytes);
        settings = set(settings, keys.outcomes_max_bytes, Self::outcomes_max_bytes);
        settings = set(settings, keys.dead_letters_max_bytes, Self::dead_letters_max_bytes);
        if let Some(storage) = keys.storage {
            settings = settings.storage(storage);
        }
        if let Some(replicas) = keys.replicas {
            settings = settings.replicas(replicas.get().into());
        }
        if let Some(age) = keys.max_age_seconds {
            settings = settings.max_age(age.into());
        }
        if let Some(window) = keys.duplicate_window_seconds {
            settings = settings.duplicate_window(window.into());
        }
        if let Some(ttl) = keys.outcome_ttl_seconds {
            settings = settings.outcome_ttl(ttl.into());
        }
        if let Some(declare) = keys.declare {
            settings = settings.declare(declare);
        }
        match keys.domain {
            Some(domain) => settings.domain(domain),
            None => settings,
        }
    }
}

impl FromText for Storage {
    const EXPECTED: &'static str = "`file` or `memory`";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "file" => Ok(Self::File),
            "memory" => Ok(Self::Memory),
            other => Err(format!("`{other}` is neither `file` nor `memory`")),
        }
    }
}
