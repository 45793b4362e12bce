//! What a consumer is set to, and the checks of it.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use http::request;
use narun_core::App;
use narun_core::exchange::{Budget, FlowConfig};
use narun_nats::inbox::ReplyPolicy;
use narun_nats::jetstream::StreamSettings;
use tracing::Span;

use crate::error::ServeError;

/// The shortest ack wait: words of a busy process come late.
pub(crate) const MIN_ACK_WAIT: Duration = Duration::from_millis(100);

/// All settings of a consumer but its service.
pub(crate) struct Settings {
    pub(crate) client: Client,
    pub(crate) app: String,
    pub(crate) namespace: String,
    pub(crate) concurrency: usize,
    pub(crate) queue: usize,
    pub(crate) instance: Option<String>,
    pub(crate) replies: ReplyPolicy,
    pub(crate) make_span: MakeSpan,
    pub(crate) on_ready: Option<Box<dyn FnOnce() + Send>>,
    pub(crate) shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(crate) shutdown_timeout: Duration,
    /// Whether durable requests are served as well.
    pub(crate) from_stream: bool,
    pub(crate) durable: DurableSettings,
    pub(crate) streams: StreamedSettings,
}

/// The settings of bodies that are streamed.
pub(crate) struct StreamedSettings {
    pub(crate) window: u64,
    pub(crate) budget: u64,
}

impl Default for StreamedSettings {
    fn default() -> Self {
        Self { window: 1024 * 1024, budget: Budget::DEFAULT }
    }
}

impl StreamedSettings {
    /// More messages than go into the largest window do not fit an exchange's mailbox.
    const WINDOWS: RangeInclusive<u64> = 64 * 1024..=16 * 1024 * 1024;

    pub(crate) fn check(&self) -> Result<(), ServeError> {
        if !Self::WINDOWS.contains(&self.window) {
            return Err(ServeError::Setting("a window has 64 KiB to 16 MiB"));
        }
        if self.budget < self.window {
            return Err(ServeError::Setting("the budget of all windows is less than one of them"));
        }
        Ok(())
    }

    pub(crate) fn flow(&self) -> FlowConfig {
        let budget = Arc::new(Budget::new(self.budget));
        FlowConfig { window: self.window, budget, ..FlowConfig::default() }
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
        }
    }
}

/// Makes the span in which a request is handled.
pub(crate) type MakeSpan = Box<dyn Fn(&request::Parts, &App) -> Span + Send + Sync>;

/// How many requests are handled, and how many wait for that.
pub(crate) struct Slots {
    pub(crate) direct: u32,
    pub(crate) queue: u32,
    pub(crate) durable: u32,
}

impl Slots {
    pub(crate) fn of(
        concurrency: usize,
        queue: usize,
        durable: &DurableSettings,
    ) -> Result<Self, ServeError> {
        let of_durable = durable.concurrency.unwrap_or(concurrency);
        let delay = &durable.redelivery_delay;
        for (wrong, why) in [
            (concurrency == 0, "a concurrency of zero handles nothing"),
            (of_durable == 0, "a concurrency of zero handles no durable requests"),
            (durable.max_deliveries == 0, "no request can be done in no delivery"),
            (durable.ack_wait < MIN_ACK_WAIT, "an ack wait of less than 100 ms cannot be kept"),
            (delay.start() > delay.end(), "the first redelivery delay is over the longest one"),
        ] {
            if wrong {
                return Err(ServeError::Setting(why));
            }
        }
        let total = u32::try_from(concurrency.saturating_add(queue));
        match (u32::try_from(concurrency), u32::try_from(queue), u32::try_from(of_durable), total) {
            (Ok(direct), Ok(queue), Ok(durable), Ok(_)) => Ok(Self { direct, queue, durable }),
            _ => Err(ServeError::Setting("concurrency and queue are over 4,294,967,295 together")),
        }
    }
}
