//! Sending the acks of a message.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use futures::FutureExt;
use tokio::task::unconstrained;

use super::acks::{AckKind, DeliveryInfo, MessageKey};
use super::dead_letter::DeadLetterReason;
use super::deliveries::{Entered, GivenBack};
use super::state::WorkerState;

/// Sends the last ack of a message, which counts as running until then. If dropped before, the message is given back.
pub(super) struct Acker {
    state: Arc<WorkerState>,
    key: MessageKey,
    settled: bool,
    /// The ack that was sent for an earlier delivery, after which the message must not be handled again.
    ended: Option<AckKind>,
}

impl Acker {
    /// Records a delivery. Returns `None` if the message runs already: the delivery is joined to that run.
    pub(super) fn enter(
        state: &Arc<WorkerState>,
        delivered: &DeliveryInfo,
        subject: &Subject,
    ) -> Option<(Self, GivenBack)> {
        let key = delivered.key();
        let (ended, earlier) = match state.deliveries.enter(key, subject.clone()) {
            Entered::New(earlier) => (None, earlier),
            Entered::Ended(ack) => (Some(ack), GivenBack::default()),
            Entered::Joined => {
                state.metrics.joined.increment(1);
                publish_now(state, subject.clone(), AckKind::Progress);
                return None;
            }
        };
        if ended.is_some() {
            state.metrics.joined.increment(1);
        }
        Some((Self { state: state.clone(), key, settled: false, ended }, earlier))
    }

    /// The ack of an earlier delivery in this process. `None` if the message must be handled.
    pub(super) const fn ended(&self) -> Option<AckKind> {
        self.ended
    }

    /// Sends the last ack. Errors are ignored: a stopped client is noticed where messages are read from it.
    pub(super) async fn settle(&mut self, ack: AckKind) {
        if let Some(subject) = self.leave(ack, None) {
            let _ = self.state.consumer.client.publish(subject, ack.payload()).await;
        }
    }

    /// Sends the last ack, which the server confirms to this subject.
    pub(super) async fn settle_confirmed(&mut self, ack: AckKind, confirmation: Subject) {
        if let Some(subject) = self.leave(ack, None) {
            let client = &self.state.consumer.client;
            let _ = client.publish_with_reply(subject, confirmation, ack.payload()).await;
        }
    }

    /// Gives the message back for this time. This delivery does not count.
    pub(super) async fn postpone(&mut self, delay: Duration) {
        self.state.deliveries.uncount(self.key);
        self.settle(AckKind::Nak(delay)).await;
    }

    /// Gives the message back for this time, as one that is a dead letter in the next delivery to this process.
    pub(super) async fn give_back(&mut self, delay: Duration, dead: DeadLetterReason) {
        let ack = AckKind::Nak(delay);
        if let Some(subject) = self.leave(ack, Some(dead)) {
            let _ = self.state.consumer.client.publish(subject, ack.payload()).await;
        }
    }

    fn leave(&mut self, ack: AckKind, dead: Option<DeadLetterReason>) -> Option<Subject> {
        self.settled = true;
        self.state.deliveries.leave(self.key, ack, dead)
    }
}

impl Drop for Acker {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let ack = self.ended.unwrap_or(AckKind::Nak(Duration::ZERO));
        if let Some(subject) = self.leave(ack, None) {
            publish_now(&self.state, subject, ack);
        }
    }
}

/// Sends an ack, unless the client's queue is full.
fn publish_now(state: &WorkerState, subject: Subject, ack: AckKind) {
    // A shutdown drops many of these in one poll, more than tokio's budget for a poll allows.
    let publish = unconstrained(state.consumer.client.publish(subject, ack.payload()));
    let _ = publish.now_or_never();
}
