//! A delivered request, and what its message and the settings say of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use narun_core::FailureContext;
use narun_core::frame::{ObjectRef, OutcomeRef, RequestHead};
use narun_nats::jetstream::header;
use tokio::time::Instant;

use super::acks::Delivered;
use super::state::Shared;
use crate::extensions::{Delivery, Received};

/// What there is to do, apart from its acknowledgement.
pub(super) struct Work {
    pub(super) shared: Arc<Shared>,
    pub(super) delivered: Delivered,
    pub(super) payload: Bytes,
    pub(super) headers: HeaderMap,
}

/// How a delivery ends.
pub(super) enum Verdict {
    /// The request is done; its body's object is not needed any more.
    Done(Option<Box<ObjectRef>>),
    /// It has to be delivered again.
    Again(Duration),
    /// It is a dead letter.
    Dead,
}

/// A request that is to be answered, whatever the answer.
pub(super) struct Asked {
    pub(super) head: RequestHead,
    pub(super) context: FailureContext,
}

impl Work {
    pub(super) fn new(shared: Arc<Shared>, delivered: Delivered, message: Message) -> Self {
        Self { shared, delivered, payload: message.payload, headers: message.headers.unwrap_or_default() }
    }

    /// Whether there is no delivery after it.
    pub(super) fn is_last(&self) -> bool {
        self.delivered.count >= self.shared.settings.max_deliveries
    }

    /// Whether it refers to nothing but what is its own namespace's: anything else would be touched with our rights.
    pub(super) fn is_own(&self, head: &RequestHead) -> bool {
        let bucket = self.shared.tasks.namespace().bodies_bucket();
        head.object.as_ref().is_none_or(|object| object.bucket == bucket)
            && head.outcome.as_ref().is_none_or(|outcome| self.is_ours(outcome))
    }

    pub(super) fn is_ours(&self, outcome: &OutcomeRef) -> bool {
        outcome.bucket == self.shared.tasks.namespace().outcomes_bucket()
    }

    /// Whether more time has passed since the stream took it than it has.
    pub(super) fn is_expired(&self) -> bool {
        let expiry = self.headers.get(header::EXPIRY).and_then(|value| value.as_str().parse().ok());
        expiry
            .and_then(|millis| self.delivered.stored().checked_add(Duration::from_millis(millis)))
            .is_some_and(|end| end <= SystemTime::now())
    }

    pub(super) fn received(&self, head: &RequestHead) -> Received {
        Received {
            id: head.id,
            app: self.shared.consumer.app.clone(),
            peer: head.peer,
            scheme: head.scheme.clone(),
            deadline: self.shared.settings.handler_timeout.map(|timeout| Instant::now() + timeout),
            delivery: Delivery::Durable {
                count: self.delivered.count,
                first_received: self.delivered.stored(),
            },
        }
    }

    /// To be delivered once more, later each time.
    pub(super) fn again(&self) -> Verdict {
        let (first, longest) = self.shared.settings.redelivery_delay.clone().into_inner();
        let doublings = u32::try_from(self.delivered.count.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        Verdict::Again(first.saturating_mul(factor).min(longest))
    }
}
