//! The state that all deliveries share.

use std::sync::Arc;

use narun_nats::jetstream::{BodyStore, OutcomeStore, TaskStreams};
use tokio::sync::OnceCell;

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
    pub(super) uncertain: UncertainDeliveries,
    pub(super) outcomes: OnceCell<OutcomeStore>,
    pub(super) bodies: OnceCell<BodyStore>,
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

    pub(super) fn is_connected(&self) -> bool {
        self.consumer.endpoint.is_connected()
    }
}
