use std::time::Duration;

use http::HeaderName;
use narun_core::Namespace;
use narun_core::exchange::Budget;
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
