use std::num::NonZeroU64;
use std::time::Duration;

use super::value::{Seconds, given};
use crate::settings::Settings;

/// The map `limits` of a configuration: memory, rates and waits of a gateway, for
/// [`GatewayBuilder::limits`](crate::GatewayBuilder::limits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayLimits {
    #[serde(default, deserialize_with = "given")]
    window_bytes: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "given")]
    budget_bytes: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "given")]
    body_budget_bytes: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "given")]
    body_bytes_per_second: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    body_timeout_seconds: Option<Seconds>,
    #[serde(default, deserialize_with = "given")]
    reconnect_grace_seconds: Option<Seconds>,
    #[serde(default, deserialize_with = "given")]
    linger_seconds: Option<Seconds>,
    #[serde(default, deserialize_with = "given")]
    linger_pause_seconds: Option<Seconds>,
    #[serde(default, deserialize_with = "given")]
    linger_bytes: Option<NonZeroU64>,
    #[serde(default, deserialize_with = "given")]
    linger_bodies: Option<usize>,
}

impl GatewayLimits {
    /// Changes the settings for which there is a key.
    pub(crate) fn apply(&self, settings: &mut Settings) {
        fn set<T, V: Into<T>>(setting: &mut T, key: Option<V>) {
            if let Some(value) = key {
                *setting = value.into();
            }
        }
        set(&mut settings.window, self.window_bytes);
        set(&mut settings.budget, self.budget_bytes);
        set(&mut settings.body_budget, self.body_budget_bytes);
        set(&mut settings.body_rate, self.body_bytes_per_second);
        set(&mut settings.body_timeout, self.body_timeout_seconds);
        set(&mut settings.reconnect_grace, self.reconnect_grace_seconds);
        let linger = &mut settings.linger;
        if let Some(time) = self.linger_seconds {
            *linger = linger.time(Duration::from(time));
        }
        if let Some(pause) = self.linger_pause_seconds {
            *linger = linger.pause(Duration::from(pause));
        }
        if let Some(bytes) = self.linger_bytes {
            *linger = linger.bytes(bytes.get());
        }
        if let Some(bodies) = self.linger_bodies {
            *linger = linger.bodies(bodies);
        }
    }
}
