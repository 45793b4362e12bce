//! The state that all deliveries share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use narun_nats::jetstream::{BodyStore, OutcomeStore, TaskStreams};
use tokio::sync::{Notify, OnceCell};

use super::deliveries::Deliveries;
use super::uncertain::UncertainDeliveries;
use crate::admission::Admission;
use crate::consumer::Consumer;
use crate::metrics::DurableMetrics;
use crate::settings::DurableSettings;

/// The state that all deliveries share.
pub(crate) struct WorkerState {
    pub(super) consumer: Arc<Consumer>,
    pub(super) tasks: TaskStreams,
    pub(super) settings: DurableSettings,
    /// The slots of durable requests. There is no queue: no more messages are pulled than there are slots.
    pub(super) slots: Admission,
    pub(super) concurrency: usize,
    pub(super) metrics: DurableMetrics,
    pub(super) deliveries: Deliveries,
    /// Notified when progress acks are due.
    pub(super) progress_due: Notify,
    pub(super) uncertain: UncertainDeliveries,
    pub(super) outcomes: OnceCell<OutcomeStore>,
    pub(super) bodies: OnceCell<BodyStore>,
    /// The ack wait of the consumer, in nanoseconds.
    ack_wait: AtomicU64,
}

impl WorkerState {
    pub(crate) fn new(
        consumer: Arc<Consumer>,
        tasks: TaskStreams,
        settings: DurableSettings,
        slots: u32,
    ) -> Self {
        Self {
            slots: Admission::new(slots, 0),
            concurrency: slots as usize,
            metrics: DurableMetrics::new(consumer.app.as_str()),
            deliveries: Deliveries::new(),
            progress_due: Notify::new(),
            ack_wait: AtomicU64::new(nanos(settings.ack_wait)),
            consumer,
            tasks,
            settings,
            uncertain: UncertainDeliveries::new(),
            outcomes: OnceCell::new(),
            bodies: OnceCell::new(),
        }
    }

    /// The size of the largest RESPONSE that can be stored and sent.
    pub(super) fn room(&self) -> usize {
        narun_nats::jetstream::max_stored_frame(self.consumer.endpoint.max_payload())
    }

    /// The time without a progress ack after which the server delivers a message again.
    pub(super) fn ack_wait(&self) -> Duration {
        Duration::from_nanos(self.ack_wait.load(Ordering::Relaxed))
    }

    /// Sets the ack wait that the consumer was found to have.
    pub(super) fn set_ack_wait(&self, ack_wait: Duration) {
        self.ack_wait.store(nanos(ack_wait), Ordering::Relaxed);
    }

    pub(super) fn is_connected(&self) -> bool {
        self.consumer.endpoint.is_connected()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
