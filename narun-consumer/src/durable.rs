//! Durable delivery: requests out of the namespace's stream.

mod acks;
mod dead;
mod doubt;
mod job;
mod lanes;
mod pull;
mod store;
mod worker;

use std::sync::Arc;

use narun_nats::Link;
use narun_nats::jetstream::{BodyStore, DeclareError, OutcomeStore, TaskStreams};
use tokio::sync::OnceCell;

use crate::admission::Admission;
use crate::dispatch::Consumer;
use crate::error::ServeError;
use crate::metrics::DurableMetrics;
use crate::serve::DurableSettings;

use doubt::Doubt;

pub(crate) use worker::{Control, work};

/// What all deliveries share.
pub(crate) struct Shared {
    consumer: Arc<Consumer>,
    tasks: TaskStreams,
    settings: DurableSettings,
    /// Those of durable requests; there is no queue, as no more is asked for than there are slots.
    slots: Admission,
    concurrency: usize,
    metrics: DurableMetrics,
    doubt: Doubt,
    outcomes: OnceCell<OutcomeStore>,
    bodies: OnceCell<BodyStore>,
}

impl Shared {
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
            doubt: Doubt::new(),
            outcomes: OnceCell::new(),
            bodies: OnceCell::new(),
        }
    }

    /// How large a response may be.
    fn room(&self) -> usize {
        narun_nats::jetstream::room(self.consumer.endpoint.link().client().max_payload())
    }

    fn is_connected(&self) -> bool {
        self.consumer.endpoint.link().is_connected()
    }
}

impl From<DeclareError> for ServeError {
    fn from(error: DeclareError) -> Self {
        Self::Stream(error.to_string())
    }
}
