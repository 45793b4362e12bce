use std::time::Duration;

use http::{HeaderMap, HeaderName};
use narun_core::exchange::Budget;
use narun_core::{FailureContext, Namespace};
use narun_nats::body::LeastRate;
use narun_nats::jetstream::StreamSettings;

use crate::failure::{DefaultFailureHook, FailureHook};
use crate::forward::{DefaultPeerHook, Forwarding, PeerHook};
use crate::idempotency::{CallerHook, DefaultCallerHook};
use crate::linger::Linger;

/// The settings of a gateway, as its builder gathers them.
pub(crate) struct Settings {
    pub(crate) namespace: Namespace,
    pub(crate) stream: StreamSettings,
    pub(crate) timeout: Duration,
    pub(crate) reconnect_grace: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) forwarding: Forwarding,
    pub(crate) kept_fields: Vec<HeaderName>,
    pub(crate) peer: Box<dyn PeerHook>,
    pub(crate) failure: Box<dyn FailureHook>,
    pub(crate) caller: Box<dyn CallerHook>,
    pub(crate) status_prefix: Option<String>,
    pub(crate) window: u64,
    pub(crate) budget: u64,
    pub(crate) body_budget: u64,
    pub(crate) body_rate: u64,
    pub(crate) body_timeout: Duration,
    pub(crate) linger: Linger,
}

impl Settings {
    /// The least rate at which the client of a request with these fields must send a body that is collected.
    pub(crate) fn least_rate(&self, fields: &HeaderMap) -> LeastRate {
        // A gRPC client may be as slow as its application.
        match FailureContext::is_grpc(fields) {
            true => LeastRate::NONE,
            false => LeastRate::new(self.body_rate),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: Namespace::default(),
            stream: StreamSettings::new(),
            timeout: Duration::from_secs(15),
            reconnect_grace: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            forwarding: Forwarding::default(),
            kept_fields: Vec::new(),
            peer: Box::new(DefaultPeerHook),
            failure: Box::new(DefaultFailureHook),
            caller: Box::new(DefaultCallerHook),
            status_prefix: None,
            window: 1024 * 1024,
            budget: Budget::DEFAULT,
            body_budget: 24 * 1024 * 1024,
            body_rate: 1024,
            body_timeout: Duration::from_secs(60 * 60),
            linger: Linger::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn grpc_has_no_least_rate() {
        let (settings, mut fields) = (Settings::default(), HeaderMap::new());
        assert_eq!(settings.least_rate(&fields), LeastRate::new(1024));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        assert_eq!(settings.least_rate(&fields), LeastRate::NONE);
    }
}
