//! A delivered request, and what follows from its message and the settings.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use narun_core::FailureContext;
use narun_core::frame::{ObjectRef, OutcomeRef, RequestHead};
use narun_nats::jetstream::header;
use tokio::time::Instant;

use super::acks::DeliveryInfo;
use super::dead_letter::DeadLetterReason;
use super::deliveries::GivenBack;
use super::full::LateOutcome;
use super::state::WorkerState;
use crate::extensions::{Delivery, Received};

/// A durable request as delivered, without its acknowledgement.
pub(super) struct DeliveredRequest {
    pub(super) state: Arc<WorkerState>,
    pub(super) delivered: DeliveryInfo,
    /// What this process knows of earlier deliveries.
    pub(super) earlier: GivenBack,
    pub(super) payload: Bytes,
    pub(super) headers: HeaderMap,
}

/// How a delivery ends.
pub(super) enum Verdict {
    /// The request is done.
    Done {
        /// The object with its body, which can be deleted.
        object: Option<Box<ObjectRef>>,
        /// Its outcome, if there was no room for it.
        late: Option<Box<LateOutcome>>,
    },
    /// The request must be delivered again after this delay.
    Retry(Duration),
    /// The request must be delivered again, and this delivery does not count: its outcome or its body could not be reached,
    /// which is not the request's fault.
    Postponed,
    /// The request is a dead letter.
    DeadLetter {
        /// Its outcome, if there was no room for it.
        late: Option<Box<LateOutcome>>,
    },
    /// The request was delivered too often, but another process may still handle it. It must be delivered again after an ack
    /// wait, in which that process can say so, and is a dead letter then.
    Doubtful(DeadLetterReason),
    /// The request is a dead letter that could not be stored. It must be delivered again, but not handled.
    Unburied(DeadLetterReason),
}

/// What is needed to respond to a request that was read.
pub(super) struct RequestContext {
    pub(super) head: RequestHead,
    pub(super) failure: FailureContext,
}

impl DeliveredRequest {
    pub(super) fn new(
        state: Arc<WorkerState>,
        delivered: DeliveryInfo,
        earlier: GivenBack,
        message: Message,
    ) -> Self {
        let headers = message.headers.unwrap_or_default();
        Self { state, delivered, earlier, payload: message.payload, headers }
    }

    /// The number of this delivery, without those that do not count as far as this process knows.
    fn count(&self) -> u64 {
        self.delivered.count.saturating_sub(self.earlier.uncounted).max(1)
    }

    /// Whether this is the last delivery.
    pub(super) fn is_last(&self) -> bool {
        self.count() >= self.state.settings.max_deliveries
    }

    /// Whether the request was delivered more often than the limit.
    pub(super) fn is_over_limit(&self) -> bool {
        self.count() > self.state.settings.max_deliveries
    }

    /// Whether the request is over the limit and nobody else is waited for any more: this process may have forgotten that it
    /// has waited before.
    pub(super) fn is_beyond_doubt(&self) -> bool {
        is_beyond_doubt(self.count(), self.state.settings.max_deliveries)
    }

    /// Whether all buckets that the head refers to belong to this namespace. Others must not be used with the
    /// consumer's permissions.
    pub(super) fn has_own_buckets(&self, head: &RequestHead) -> bool {
        let bucket = self.state.tasks.namespace().bodies_bucket();
        head.object.as_ref().is_none_or(|object| object.bucket == bucket)
            && head.outcome.as_ref().is_none_or(|outcome| self.is_own_outcome(outcome))
    }

    pub(super) fn is_own_outcome(&self, outcome: &OutcomeRef) -> bool {
        outcome.bucket == self.state.tasks.namespace().outcomes_bucket()
    }

    /// Whether the request's expiry has elapsed since the server stored it.
    pub(super) fn is_expired(&self) -> bool {
        let expiry = self.headers.get(header::EXPIRY).and_then(|value| value.as_str().parse().ok());
        expiry
            .and_then(|millis| self.delivered.stored().checked_add(Duration::from_millis(millis)))
            .is_some_and(|end| end <= SystemTime::now())
    }

    pub(super) fn received(&self, head: &RequestHead) -> Received {
        Received {
            id: head.id,
            app: self.state.consumer.app.clone(),
            peer: head.peer,
            scheme: head.scheme.clone(),
            deadline: self.state.settings.handler_timeout.map(|timeout| Instant::now() + timeout),
            delivery: Delivery::Durable {
                count: self.delivered.count,
                first_received: self.delivered.stored(),
            },
        }
    }

    /// Returns the verdict to deliver the request again.
    pub(super) fn retry(&self) -> Verdict {
        Verdict::Retry(self.delay())
    }

    /// How long to wait for another process that may handle the request.
    pub(super) fn doubt(&self) -> Duration {
        self.delay().max(self.state.ack_wait())
    }

    /// The delay of the next delivery. Doubles with each of them.
    pub(super) fn delay(&self) -> Duration {
        let (first, longest) = self.state.settings.redelivery_delay.clone().into_inner();
        let doublings = u32::try_from(self.count().saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        first.saturating_mul(factor).min(longest)
    }
}

/// Whether so many deliveries are too many, even if some of them waited for another process.
pub(super) const fn is_beyond_doubt(count: u64, max_deliveries: u64) -> bool {
    count > max_deliveries.saturating_mul(2).saturating_add(5)
}
