use std::time::Duration;

use super::ConnectionChange;
use crate::frame::{DecodeError, Frame, ResponseFrame};
use crate::{ExchangeId, Failure, FailureKind, Time};

/// Settings of a [`Submission`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SubmissionConfig {
    /// Time until the response must have arrived, the stream's acknowledgement included. Default 15 s.
    pub wait: Duration,
    /// Time without an acknowledgement after which the request is published again. Default 1 s.
    pub ack_timeout: Duration,
    /// Time after the start during which the request may be published again. It must be well below the stream's duplicate
    /// window, or the request could be stored twice. Default 60 s.
    pub retry_for: Duration,
    /// Time after the connection was restored in which an absent stream does not count as missing: its server may not be
    /// ready yet. Default 5 s.
    pub grace: Duration,
}

impl Default for SubmissionConfig {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(15),
            ack_timeout: Duration::from_secs(1),
            retry_for: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// The gateway's side of a durable exchange: a request that is published to a stream, its acknowledgement, and its
/// response.
///
/// See the [module](super) for the order of calls. The request is published with the same id each time. The stream's
/// acknowledgements come in through [`Submission::handle_ack`].
///
/// Cancel safe: a request that the stream has stored is executed, even if nobody waits for the response. A gateway that
/// does not want the response drops this after [`SubmissionEvent::Accepted`].
#[derive(Debug)]
pub struct Submission {
    id: ExchangeId,
    config: SubmissionConfig,
    deadline: Time,
    /// When publishing again stops being safe.
    retry_until: Time,
    /// When the request is published again unless an acknowledgement arrives first.
    retry_at: Option<Time>,
    /// Whether the request must be published now.
    due: bool,
    connected: bool,
    /// Until when "no responders" may mean that the stream is not available again yet.
    returning_until: Option<Time>,
    /// How many times `poll_transmit` has returned the request.
    published: u32,
    /// How many of these publications are known not to be stored.
    refused: u32,
    accepted: bool,
    /// `Accepted`, then the last event.
    events: [Option<SubmissionEvent>; 2],
    ended: bool,
}

/// An event of a durable exchange, for the gateway. Exhaustive: a driver must handle each event.
#[derive(Debug)]
pub enum SubmissionEvent {
    /// The stream has stored the request: it will be executed. Returned at most once.
    Accepted {
        /// Whether the stream had stored the request already. After the first publication, this means that another
        /// gateway has published it and gets the response. After a second publication, it may have been the first one.
        duplicate: bool,
    },
    /// The handler's response, the last event.
    Response(Box<ResponseFrame>),
    /// No response will arrive, or none arrived in time; the last event.
    Failed(Failure),
}

/// The order to publish the request to its stream, with the same id each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRequest;

/// A stream's acknowledgement that it has stored a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PubAck {
    /// Whether the stream had stored the request already.
    pub duplicate: bool,
}

impl Submission {
    /// Begins an exchange whose request has not been published yet.
    pub fn new(now: Time, id: ExchangeId, config: SubmissionConfig) -> Self {
        Self {
            id,
            config,
            deadline: now + config.wait,
            retry_until: now + config.retry_for,
            retry_at: Some(now + config.ack_timeout).filter(|at| *at < now + config.retry_for),
            due: true,
            connected: true,
            returning_until: None,
            published: 0,
            refused: 0,
            accepted: false,
            events: [None, None],
            ended: false,
        }
    }

    /// States that the connection to NATS was restored at `at`, before this exchange began: the stream may not be available
    /// again yet. Call it before all other inputs.
    pub fn restored_at(&mut self, at: Time) {
        self.returning_until = Some(at + self.config.grace);
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

    /// Returns the next event of the exchange, in order, or `None` if there is none for now. Each event is returned once.
    pub fn poll_event(&mut self) -> Option<SubmissionEvent> {
        self.events.iter_mut().find_map(Option::take)
    }

    /// Returns when to call [`Submission::handle_timeout`], or `None` if the exchange has ended.
    pub fn poll_timeout(&self) -> Option<Time> {
        let earliest = self.retry_at.map_or(self.deadline, |retry| retry.min(self.deadline));
        (!self.ended).then_some(earliest)
    }

    /// Handles the stream's acknowledgement, or its error. An error ends the exchange if no other publication may be
    /// stored.
    pub fn handle_ack(&mut self, _now: Time, ack: Result<PubAck, Failure>) {
        if self.ended {
            return;
        }
        match ack {
            Ok(ack) => self.accept(ack.duplicate),
            Err(failure) => self.refuse(failure),
        }
    }

    /// Handles "no responders": no stream captures the request's subject. For [`SubmissionConfig::grace`] after the connection
    /// was restored, the request is published again; otherwise the exchange fails unless another publication may be stored.
    pub fn handle_no_responders(&mut self, now: Time) {
        if self.ended || self.accepted {
            return;
        }
        let again = now + self.config.grace / 10;
        if self.returning_until.is_some_and(|until| now < until) && again < self.retry_until {
            self.refused += 1;
            self.retry_at = Some(again);
        } else {
            self.refuse(FailureKind::StreamMissing.into());
        }
    }

    /// Handles a publication that failed before it left this process.
    pub fn handle_unsent(&mut self, _now: Time, failure: Failure) {
        if !self.ended {
            self.refuse(failure);
        }
    }

    /// Handles a frame that arrived at the response's token. A RESPONSE proves that the request is stored.
    pub fn handle_frame(&mut self, _now: Time, frame: Frame) {
        let Frame::Response(response) = frame else {
            // A consumer may send WORKING. Other frames have no meaning here.
            return;
        };
        if self.ended {
            return;
        }
        self.accept(false);
        if response.head.end {
            self.end(SubmissionEvent::Response(response));
        } else {
            self.fail(FailureKind::BadResponse, Some("the response does not fit one frame".to_owned()));
        }
    }

    /// Handles an invalid payload that arrived at the response's token.
    pub fn handle_malformed(&mut self, _now: Time, error: &DecodeError) {
        if !self.ended {
            self.fail(FailureKind::BadResponse, Some(error.to_string()));
        }
    }

    /// Handles the loss or the restoration of the connection to NATS.
    pub fn handle_connection(&mut self, now: Time, connection: ConnectionChange) {
        let was_connected = std::mem::replace(&mut self.connected, connection == ConnectionChange::Restored);
        self.returning_until = self.connected.then(|| now + self.config.grace);
        if self.ended || self.accepted || (was_connected && self.connected) {
            return;
        }
        // Without a connection, publications would only be queued in the client.
        self.retry_at = None;
        self.become_due(now);
    }

    /// Handles the passing of time. Call it at the moment that [`Submission::poll_timeout`] returned; earlier calls do no
    /// harm.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.ended {
            return;
        }
        if self.deadline <= now {
            let kind = if self.accepted { FailureKind::ResponseLate } else { FailureKind::NotConfirmed };
            return self.fail(kind, None);
        }
        if self.retry_at.is_some_and(|retry| retry <= now) {
            self.retry_at = None;
            self.become_due(now);
        }
    }

    /// Returns whether the exchange has ended: the request is not published again, and inputs are ignored. Events may
    /// still be pending.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Returns how many times the request has been published.
    pub const fn published(&self) -> u32 {
        self.published
    }

    /// Returns whether the stream may have stored the request: false if every publication is known to have failed.
    pub const fn may_be_stored(&self) -> bool {
        self.accepted || self.refused < self.published
    }

    fn may_retry(&self, now: Time) -> bool {
        self.connected && (now < self.retry_until || self.published == 0)
    }

    /// Schedules the request to be published now, and again if no acknowledgement arrives in time.
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

    /// Notes that a publication was not stored. The exchange fails if that holds for all publications. Otherwise one whose
    /// acknowledgement was lost may be stored.
    fn refuse(&mut self, failure: Failure) {
        if self.accepted {
            return;
        }
        self.refused += 1;
        if !self.may_be_stored() {
            self.end(SubmissionEvent::Failed(failure));
        }
    }

    fn fail(&mut self, kind: FailureKind, cause: Option<String>) {
        let failure = Failure::new(kind).with_detail(format!("request {}", self.id));
        self.end(SubmissionEvent::Failed(match cause {
            Some(cause) => failure.with_cause(cause),
            None => failure,
        }));
    }

    fn end(&mut self, event: SubmissionEvent) {
        self.ended = true;
        self.events[1] = Some(event);
    }
}

#[cfg(test)]
mod tests;
