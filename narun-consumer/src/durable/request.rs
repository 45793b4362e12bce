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
use super::state::WorkerState;
use crate::extensions::{Delivery, Received};

/// A durable request as delivered, without its acknowledgement.
pub(super) struct DeliveredRequest {
    pub(super) state: Arc<WorkerState>,
    pub(super) delivered: DeliveryInfo,
    pub(super) payload: Bytes,
    pub(super) headers: HeaderMap,
}

/// How a delivery ends.
pub(super) enum Verdict {
    /// The request is done. The object with its body, if there is one, can be deleted.
    Done(Option<Box<ObjectRef>>),
    /// The request must be delivered again after this delay.
    Retry(Duration),
    /// The request is a dead letter.
    DeadLetter,
}

/// What is needed to respond to a request that was read.
pub(super) struct RequestContext {
    pub(super) head: RequestHead,
    pub(super) failure: FailureContext,
}

impl DeliveredRequest {
    pub(super) fn new(state: Arc<WorkerState>, delivered: DeliveryInfo, message: Message) -> Self {
        Self { state, delivered, payload: message.payload, headers: message.headers.unwrap_or_default() }
    }

    /// Whether this is the last delivery.
    pub(super) fn is_last(&self) -> bool {
        self.delivered.count >= self.state.settings.max_deliveries
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

    /// Returns the verdict to deliver the request again, with a delay that doubles with each delivery.
    pub(super) fn retry(&self) -> Verdict {
        let (first, longest) = self.state.settings.redelivery_delay.clone().into_inner();
        let doublings = u32::try_from(self.delivered.count.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        Verdict::Retry(first.saturating_mul(factor).min(longest))
    }
}
