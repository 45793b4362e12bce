//! The settings of a consumer, and their validation.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::request;
use narun_core::exchange::{Budget, FlowConfig};
use narun_core::{App, Namespace};
use narun_nats::NatsClient;
use narun_nats::inbox::ReplyPolicy;
use narun_nats::jetstream::StreamSettings;
use tracing::Span;

use crate::error::ServeError;
use crate::trace;

/// The shortest ack wait: a busy process sends its progress acks late.
pub(crate) const MIN_ACK_WAIT: Duration = Duration::from_millis(100);

/// All settings of a consumer, apart from its service.
pub(crate) struct Settings {
    pub(crate) nats: NatsClient,
    pub(crate) app: String,
    pub(crate) namespace: String,
    pub(crate) concurrency: usize,
    pub(crate) queue: usize,
    pub(crate) instance: Option<String>,
    pub(crate) reconnect_grace: Duration,
    pub(crate) start_timeout: Duration,
    pub(crate) replies: ReplyPolicy,
    pub(crate) make_span: MakeSpan,
    pub(crate) on_ready: Option<Box<dyn FnOnce() + Send>>,
    pub(crate) shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(crate) shutdown_timeout: Duration,
    /// Whether durable requests are served too.
    pub(crate) from_stream: bool,
    pub(crate) durable: DurableSettings,
    pub(crate) bodies: BodySettings,
}

impl Settings {
    /// The defaults.
    pub(crate) fn new(nats: NatsClient, app: String) -> Self {
        Self {
            nats,
            app,
            namespace: Namespace::default().as_str().to_owned(),
            concurrency: 1024,
            queue: 32,
            instance: None,
            reconnect_grace: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            replies: ReplyPolicy::default(),
            make_span: Box::new(trace::default_span),
            on_ready: None,
            shutdown: None,
            shutdown_timeout: Duration::from_secs(30),
            from_stream: false,
            durable: DurableSettings::default(),
            bodies: BodySettings::default(),
        }
    }
}

/// The settings of streamed bodies.
pub(crate) struct BodySettings {
    pub(crate) window: u64,
    pub(crate) budget: u64,
}

impl Default for BodySettings {
    fn default() -> Self {
        Self { window: 1024 * 1024, budget: Budget::DEFAULT }
    }
}

impl BodySettings {
    /// The mailbox of an exchange has room for the messages of the largest window.
    const WINDOWS: RangeInclusive<u64> = 64 * 1024..=16 * 1024 * 1024;

    pub(crate) fn check(&self) -> Result<(), ServeError> {
        if !Self::WINDOWS.contains(&self.window) {
            return Err(ServeError::Setting("the window must be between 64 KiB and 16 MiB"));
        }
        if self.budget < self.window {
            return Err(ServeError::Setting("the budget must not be less than the window"));
        }
        Ok(())
    }

    pub(crate) fn flow(&self) -> FlowConfig {
        let mut flow = FlowConfig::default();
        flow.window = self.window;
        flow.budget = Arc::new(Budget::new(self.budget));
        flow
    }
}

/// The settings of durable delivery.
pub(crate) struct DurableSettings {
    pub(crate) stream: StreamSettings,
    pub(crate) ack_wait: Duration,
    pub(crate) max_deliveries: u64,
    pub(crate) redelivery_delay: RangeInclusive<Duration>,
    pub(crate) retry_server_errors: bool,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) concurrency: Option<usize>,
    /// The most bytes of a body that is stored as an object.
    pub(crate) max_body: u64,
}

impl Default for DurableSettings {
    fn default() -> Self {
        Self {
            stream: StreamSettings::new(),
            ack_wait: Duration::from_secs(5),
            max_deliveries: 5,
            redelivery_delay: Duration::from_secs(1)..=Duration::from_secs(60),
            retry_server_errors: false,
            handler_timeout: None,
            concurrency: None,
            max_body: 64 * 1024 * 1024,
        }
    }
}

/// Makes the span of a request.
pub(crate) type MakeSpan = Box<dyn Fn(&request::Parts, &App) -> Span + Send + Sync>;

/// The validated numbers of slots and of places in the queue.
pub(crate) struct Slots {
    pub(crate) direct: u32,
    pub(crate) queue: u32,
    pub(crate) durable: u32,
}

impl Slots {
    pub(crate) fn new(
        concurrency: usize,
        queue: usize,
        durable: &DurableSettings,
    ) -> Result<Self, ServeError> {
        let durable_slots = durable.concurrency.unwrap_or(concurrency);
        let delay = &durable.redelivery_delay;
        for (is_invalid, why) in [
            (concurrency == 0, "the concurrency must be at least 1"),
            (durable_slots == 0, "the concurrency of durable requests must be at least 1"),
            (durable.max_deliveries == 0, "the number of deliveries must be at least 1"),
            (durable.ack_wait < MIN_ACK_WAIT, "the ack wait must be at least 100 ms"),
            (delay.start() > delay.end(), "the first redelivery delay must not be longer than the last one"),
        ] {
            if is_invalid {
                return Err(ServeError::Setting(why));
            }
        }
        let total = u32::try_from(concurrency.saturating_add(queue));
        match (u32::try_from(concurrency), u32::try_from(queue), u32::try_from(durable_slots), total) {
            (Ok(direct), Ok(queue), Ok(durable), Ok(_)) => Ok(Self { direct, queue, durable }),
            _ => Err(ServeError::Setting("concurrency and queue must not exceed 4,294,967,295 together")),
        }
    }
}
