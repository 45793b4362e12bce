use std::time::Duration;

use super::ConnectionChange;
use crate::frame::{DecodeError, Frame, ResponseFrame};
use crate::{ExchangeId, Failure, FailureKind, Time};

/// Settings of a [`Submission`].
#[derive(Clone, Copy, Debug)]
pub struct SubmissionConfig {
    /// How long the answer is waited for, and before it the confirmation that the request is stored. Default 15 s.
    pub wait: Duration,
    /// How long one confirmation is waited for before the request is published again. Default 1 s.
    pub ack_timeout: Duration,
    /// For how long, from the first time on, the request is published again: well within the time for which the
    /// stream recognises duplicates, or it could be stored twice. Default 60 s.
    pub retry_for: Duration,
}

impl Default for SubmissionConfig {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(15),
            ack_timeout: Duration::from_secs(1),
            retry_for: Duration::from_secs(60),
        }
    }
}

/// The gateway's side of a durable exchange: a request put into a stream, its confirmation, and its answer.
///
/// It is driven as a [`Caller`](super::Caller) is, but there is one request, published with the same id each time, and
/// the other side is a stream at first: its confirmations come in through [`Submission::handle_ack`]. Nothing is ever
/// cancelled: what the stream has taken is done, whether anybody waits or not. So whoever does not want the answer drops
/// this after [`SubmissionEvent::Accepted`].
#[derive(Debug)]
pub struct Submission {
    id: ExchangeId,
    config: SubmissionConfig,
    deadline: Time,
    /// When publishing again is no longer safe.
    retry_until: Time,
    /// When the request is published again unless a confirmation comes before.
    retry_at: Option<Time>,
    /// Whether there is something to publish.
    due: bool,
    connected: bool,
    /// How often the request was given out to be published.
    published: u32,
    /// How many of these are known not to have been stored.
    refused: u32,
    accepted: bool,
    /// The first is always `Accepted`, if the exchange gets that far.
    events: [Option<SubmissionEvent>; 2],
    ended: bool,
}

/// What comes of a durable exchange for the gateway.
#[derive(Debug)]
pub enum SubmissionEvent {
    /// The stream has the request: it will be done. Given once.
    Accepted {
        /// The stream had it before this confirmation. With the first publication this means that somebody else has
        /// published it, and that the answer goes there; after a second one, it may as well have been the first.
        duplicate: bool,
    },
    /// The handler's response, the last event.
    Response(Box<ResponseFrame>),
    /// There will be none in time, or at all; the last event.
    Failed(Failure),
}

/// The request must be published to the stream, with the same id each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRequest;

/// A stream's confirmation that it has a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PubAck {
    /// Whether it had the request already.
    pub duplicate: bool,
}

impl Submission {
    /// A request about to be published.
    pub fn new(now: Time, id: ExchangeId, config: SubmissionConfig) -> Self {
        Self {
            id,
            config,
            deadline: now + config.wait,
            retry_until: now + config.retry_for,
            retry_at: Some(now + config.ack_timeout).filter(|at| *at < now + config.retry_for),
            due: true,
            connected: true,
            published: 0,
            refused: 0,
            accepted: false,
            events: [None, None],
            ended: false,
        }
    }

    /// Returns `Some` if the request must be published now. It then counts as published.
    pub fn poll_transmit(&mut self) -> Option<PublishRequest> {
        if self.ended || !self.due {
            return None;
        }
        self.due = false;
        self.published += 1;
        Some(PublishRequest)
    }

    /// What came of the exchange, in order; each is given once.
    pub fn poll_event(&mut self) -> Option<SubmissionEvent> {
        self.events.iter_mut().find_map(Option::take)
    }

    /// When [`Submission::handle_timeout`] is to be called; none once the exchange has ended.
    pub fn poll_timeout(&self) -> Option<Time> {
        let earliest = self.retry_at.map_or(self.deadline, |retry| retry.min(self.deadline));
        (!self.ended).then_some(earliest)
    }

    /// The stream confirms the request, or says why not. Its first refusal is final if no other publication is open.
    pub fn handle_ack(&mut self, _now: Time, ack: Result<PubAck, Failure>) {
        if self.ended {
            return;
        }
        match ack {
            Ok(ack) => self.accept(ack.duplicate),
            Err(failure) => self.refuse(failure),
        }
    }

    /// NATS says that no stream listens where the request was published.
    pub fn handle_no_responders(&mut self, _now: Time) {
        if !self.ended {
            self.refuse(FailureKind::StreamMissing.into());
        }
    }

    /// A publication did not leave this process.
    pub fn handle_unsent(&mut self, _now: Time, failure: Failure) {
        if !self.ended {
            self.refuse(failure);
        }
    }

    /// A frame came to the inbox of the answer. Whoever answers has the request, so it is stored.
    pub fn handle_frame(&mut self, _now: Time, frame: Frame) {
        let Frame::Response(response) = frame else {
            // A consumer may say that it is at work; nothing else has a meaning here.
            return;
        };
        if self.ended {
            return;
        }
        self.accept(false);
        if response.head.end {
            self.end(SubmissionEvent::Response(response));
        } else {
            self.fail(FailureKind::BadResponse, "the response does not fit one frame");
        }
    }

    /// Something that is no frame came to the inbox of the answer.
    pub fn handle_malformed(&mut self, _now: Time, error: &DecodeError) {
        if !self.ended {
            self.fail(FailureKind::BadResponse, &error.to_string());
        }
    }

    /// The connection to NATS broke, or is back.
    pub fn handle_connection(&mut self, now: Time, connection: ConnectionChange) {
        self.connected = connection == ConnectionChange::Restored;
        if self.ended || self.accepted {
            return;
        }
        // Without a connection publications would only pile up in the client.
        self.retry_at = None;
        self.become_due(now);
    }

    /// The moment of [`Submission::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.ended {
            return;
        }
        if self.deadline <= now {
            let kind = if self.accepted { FailureKind::AnsweredLate } else { FailureKind::NotConfirmed };
            return self.fail(kind, "");
        }
        if self.retry_at.is_some_and(|retry| retry <= now) {
            self.retry_at = None;
            self.become_due(now);
        }
    }

    /// Returns whether the exchange has ended: nothing more is published, and after the last event nothing comes.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// How often the request was published.
    pub const fn published(&self) -> u32 {
        self.published
    }

    /// Whether the stream may have the request: every publication but those that are known to have failed may be stored.
    pub const fn may_be_stored(&self) -> bool {
        self.accepted || self.refused < self.published
    }

    fn may_retry(&self, now: Time) -> bool {
        self.connected && (now < self.retry_until || self.published == 0)
    }

    /// The request must be published now, and again if no confirmation arrives in time.
    fn become_due(&mut self, now: Time) {
        self.due = self.may_retry(now);
        if !self.due {
            return;
        }
        let at = now + self.config.ack_timeout;
        self.retry_at = (self.connected && at < self.retry_until).then_some(at);
    }

    fn accept(&mut self, duplicate: bool) {
        if !self.accepted {
            self.accepted = true;
            self.due = false;
            self.retry_at = None;
            self.events[0] = Some(SubmissionEvent::Accepted { duplicate });
        }
    }

    /// A publication was not stored. Final if that holds for all of them; otherwise one whose confirmation was lost may
    /// be stored, and only a confirmation tells.
    fn refuse(&mut self, failure: Failure) {
        if self.accepted {
            return;
        }
        self.refused += 1;
        if !self.may_be_stored() {
            self.end(SubmissionEvent::Failed(failure));
        }
    }

    fn fail(&mut self, kind: FailureKind, detail: &str) {
        let comma = if detail.is_empty() { "" } else { ", " };
        let detail = format!("{detail}{comma}request {}", self.id);
        self.end(SubmissionEvent::Failed(Failure::new(kind).with_detail(detail)));
    }

    fn end(&mut self, event: SubmissionEvent) {
        self.ended = true;
        self.events[1] = Some(event);
    }
}

#[cfg(test)]
mod tests;
