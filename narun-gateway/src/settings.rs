use std::time::Duration;

use narun_core::Namespace;
use narun_core::exchange::Budget;
use narun_nats::NatsEvents;
use narun_nats::jetstream::StreamSettings;

use crate::failure::{DefaultFailureHook, FailureHook};
use crate::forward::{DefaultPeerHook, ForwardedPolicy, PeerHook};
use crate::idempotency::{CallerHook, DefaultCallerHook};

/// The settings of a gateway, as its builder gathers them.
pub(crate) struct Settings {
    pub(crate) namespace: Namespace,
    pub(crate) stream: StreamSettings,
    pub(crate) timeout: Duration,
    pub(crate) reconnect_grace: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) events: NatsEvents,
    pub(crate) forwarded: ForwardedPolicy,
    pub(crate) peer: Box<dyn PeerHook>,
    pub(crate) failure: Box<dyn FailureHook>,
    pub(crate) caller: Box<dyn CallerHook>,
    pub(crate) status_prefix: Option<String>,
    pub(crate) window: u64,
    pub(crate) budget: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: Namespace::default(),
            stream: StreamSettings::new(),
            timeout: Duration::from_secs(15),
            reconnect_grace: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            events: NatsEvents::new(),
            forwarded: ForwardedPolicy::default(),
            peer: Box::new(DefaultPeerHook),
            failure: Box::new(DefaultFailureHook),
            caller: Box::new(DefaultCallerHook),
            status_prefix: None,
            window: 1024 * 1024,
            budget: Budget::DEFAULT,
        }
    }
}
