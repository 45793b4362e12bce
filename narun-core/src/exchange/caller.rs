mod attempt;
mod attempts;
mod bodies;
mod config;
mod streaming;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::flow::Watch;
use super::{ConnectionChange, FlowConfig};
use crate::frame::{DecodeError, Frame, Reset, ResetCode, ResponseFrame, encode_probe};
use crate::{BodyErrorKind, Failure, FailureKind, Time};
use attempt::Attempt;
use bodies::Bodies;

pub use config::CallerConfig;

/// How many attempts follow the first one while consumers are returning, at most: ten in one grace.
const MOST_ATTEMPTS: usize = 32;

/// The longest pause between two PROBEs to a consumer that no frame reaches.
const ABSENT_PAUSE: Duration = Duration::from_millis(500);

/// The gateway's side of an exchange.
///
/// See the [module](super) for the order of calls. The exchange ends with its first event, unless that is a response
/// whose body goes on. After the end, inputs are ignored.
#[derive(Debug)]
pub struct Caller<A> {
    config: CallerConfig,
    /// Attempt 0. Kept apart, because further attempts are rare and take an allocation.
    first: Attempt<A>,
    others: Vec<Attempt<A>>,
    deadline: Time,
    /// When the whole exchange must be over.
    total: Option<Time>,
    /// When an idempotent request is sent again if no frame arrives.
    silence_at: Option<Time>,
    /// When a refused request is sent again.
    resend_at: Option<Time>,
    resends_left: u8,
    /// When a lost connection ends the exchange.
    grace_until: Option<Time>,
    resent_after_loss: bool,
    /// Whether the connection is lost now. Nothing is published meanwhile.
    away: bool,
    /// Until when "no responders" may mean that the consumers are not connected again yet.
    returning_until: Option<Time>,
    /// Since when frames to the consumer meet "no responders", and none of its frames has arrived. No part of a body is sent
    /// meanwhile.
    unheard_since: Option<Time>,
    /// Whether a DATA may have met "no responders" since CREDIT was last sent with a PROBE.
    doubtful: bool,
    watch: Watch,
    /// How many attempts `poll_transmit` has returned.
    published: u8,
    outbox: VecDeque<CallerTransmit<A>>,
    event: Option<CallerEvent>,
    ended: bool,
    random: u64,
    /// `Some` if the bodies may be longer than one frame.
    flow: Option<Arc<FlowConfig>>,
    /// Allocated when a body is longer than one frame.
    bodies: Option<Box<Bodies>>,
}

/// A result of an exchange, for the gateway. Exhaustive: a driver must handle each event.
#[derive(Debug)]
pub enum CallerEvent {
    /// The handler's response. If its `head.end` is false, its `body` is empty: read the body with
    /// [`Caller::poll_read`], from its first byte.
    Response(Box<ResponseFrame>),
    /// The exchange failed before a response arrived.
    Failed(Failure),
}

/// A message for the gateway to publish. Exhaustive: a driver must handle each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerTransmit<A> {
    /// The REQUEST, to the app's subject. Its reply is a new token of the gateway, that of this attempt.
    Request {
        /// The number of the attempt, from 0.
        attempt: u8,
    },
    /// An encoded frame to a consumer.
    Frame {
        /// The consumer's token.
        to: A,
        /// The frame.
        payload: Bytes,
        /// The attempt whose token is named as reply. `None`: the message has no reply.
        reply: Option<u8>,
    },
}

impl<A: Clone + PartialEq> Caller<A> {
    /// Begins an exchange whose request has not been published yet. `seed` determines the random backoffs.
    pub fn new(now: Time, config: CallerConfig, seed: u64) -> Self {
        let budget = config.total_timeout.map_or(config.head_timeout, |total| total.min(config.head_timeout));
        let mut watch = Watch::default();
        watch.heard(now);
        Self {
            config,
            first: Attempt::Sent,
            others: Vec::new(),
            deadline: now + budget,
            total: config.total_timeout.map(|total| now + total),
            silence_at: config.idempotent.then(|| now + config.silence),
            resend_at: None,
            resends_left: config.resends,
            grace_until: None,
            resent_after_loss: false,
            away: false,
            returning_until: None,
            unheard_since: None,
            doubtful: false,
            watch,
            published: 0,
            outbox: VecDeque::new(),
            event: None,
            ended: false,
            random: seed,
            flow: None,
            bodies: None,
        }
    }

    /// States that the connection to NATS was restored at `at`, before this exchange began: consumers may not be connected
    /// again yet. Call it before all other inputs.
    pub fn restored_at(&mut self, at: Time) {
        self.returning_until = Some(at + self.config.grace);
    }

    /// Returns the next message to publish, or `None` if there is none for now.
    ///
    /// While the connection is lost, there is none before the end of the exchange: messages would be out of date when they
    /// are sent.
    pub fn poll_transmit(&mut self) -> Option<CallerTransmit<A>> {
        if self.away && !self.ended {
            return None;
        }
        let attempt = self.published;
        if !self.ended && usize::from(attempt) <= self.others.len() && self.is_repeatable() {
            self.published += 1;
            return Some(CallerTransmit::Request { attempt });
        }
        self.outbox.pop_front().or_else(|| self.poll_bodies())
    }

    /// Returns the event of the exchange once, and `None` otherwise.
    pub const fn poll_event(&mut self) -> Option<CallerEvent> {
        self.event.take()
    }

    /// Returns when to call [`Caller::handle_timeout`], or `None` if the exchange has ended.
    pub fn poll_timeout(&self) -> Option<Time> {
        let probe_at = self.watch.at.filter(|_| !self.away);
        let others =
            [self.silence_at, self.resend_at, self.grace_until, probe_at, self.poll_bodies_timeout()];
        let earliest = others.into_iter().flatten().fold(self.deadline, Time::min);
        (!self.ended).then_some(earliest)
    }

    /// Handles a frame that arrived at the token of `attempt`. `reply` is the reply subject that it names.
    pub fn handle_frame(&mut self, now: Time, attempt: u8, frame: Frame, reply: Option<A>) {
        if self.ended || !self.admit(now, attempt, &frame, reply.as_ref()) {
            return;
        }
        match frame {
            Frame::Response(response) => self.on_response(now, attempt, response),
            Frame::Refused(refused) => self.on_refused(now, attempt, &refused),
            Frame::Reset(reset) => self.on_reset(now, attempt, reset),
            Frame::Probe => self.transmit(reply, self.standing().encode(), Some(attempt)),
            Frame::Accept(accept) => self.on_accept(now, attempt, &accept),
            Frame::Credit(credit) => self.on_credit(now, attempt, &credit),
            Frame::Data(data) => self.on_data(now, data),
            Frame::Working(_) => {}
            Frame::Request(_) => self.fail_out_of_order(ResetCode::Internal),
        }
    }

    /// Handles an invalid payload that arrived at the token of `attempt`: the exchange fails. Its sender receives RESET, if
    /// it is the consumer or named this `reply`.
    pub fn handle_malformed(&mut self, _now: Time, attempt: u8, error: &DecodeError, reply: Option<A>) {
        if self.ended || matches!(self.attempt(attempt), None | Some(Attempt::Over)) {
            return;
        }
        let is_known = self.attempts().any(|attempt| attempt.consumer() == reply.as_ref());
        if !is_known {
            self.transmit(reply, encode_reset(ResetCode::Internal), None);
        }
        self.fail(Failure::new(FailureKind::BadResponse).with_cause(error.to_string()), ResetCode::Internal);
    }

    /// Handles "no responders": no subscription received the request of `attempt`, or another frame that names its token.
    ///
    /// That means nothing while the connection is lost, and for [`CallerConfig::grace`] after it was restored: the frame is
    /// sent again. A consumer that was there may be absent as long, from the first frame that it missed, because its own
    /// connection may be lost; not if another consumer has the request, too. The exchange fails at once if a part of a body is
    /// certainly lost. If that is not certain, the consumer notices it by the CREDIT that is sent with a PROBE.
    pub fn handle_no_responders(&mut self, now: Time, attempt: u8) {
        if self.ended {
            return;
        }
        let returning = self.away || self.returning_until.is_some_and(|until| now < until);
        let pause = self.config.grace / 10;
        let is_alone = self.attempts().filter(|attempt| attempt.is_taken()).count() == 1;
        let kind = match self.attempt(attempt) {
            // Nobody has received it, so it is sent again whatever its method, and beyond the other resends.
            Some(Attempt::Sent) if returning && self.is_repeatable() && self.others.len() < MOST_ATTEMPTS => {
                self.resend_at = Some(now + pause);
                return self.lose(now, attempt, FailureKind::NoConsumer.into());
            }
            Some(Attempt::Taken { .. }) => {
                if self.has_lost_data() {
                    return self.fail(FailureKind::ConsumerGone.into(), ResetCode::Gap);
                }
                self.doubtful = true;
                let is_absent = is_alone && {
                    let since = *self.unheard_since.get_or_insert(now);
                    now < since + self.config.grace
                };
                if returning || is_absent {
                    return self.watch.probe_at(now + pause.min(ABSENT_PAUSE));
                }
                FailureKind::ConsumerGone
            }
            Some(Attempt::Sent) => FailureKind::NoConsumer,
            Some(Attempt::Over) | None => return,
        };
        // Without a subscriber, no consumer can have taken an earlier attempt unnoticed.
        if kind == FailureKind::NoConsumer && !self.attempts().any(|attempt| attempt.is_taken()) {
            return self.fail(kind.into(), ResetCode::Cancel);
        }
        self.lose(now, attempt, kind.into());
    }

    /// Handles that NATS has dropped a message to `to` for want of a permission: to a consumer's token, or else a REQUEST.
    ///
    /// The exchange fails, unless a consumer has taken the request: it goes on with that attempt, and the message may have been
    /// another exchange's. If `to` is the consumer's token, it fails only while a body is streamed, which needs these messages.
    pub fn handle_denied(&mut self, to: &A) {
        let is_consumer = self.attempts().any(|attempt| attempt.consumer() == Some(to));
        let is_needed = match is_consumer {
            true => self.has_responded() || !self.is_sent(),
            false => !self.attempts().any(Attempt::is_taken),
        };
        if !self.ended && is_needed {
            self.fail(FailureKind::NotPermitted.into(), ResetCode::Cancel);
        }
    }

    /// Handles the loss or the restoration of the connection to NATS.
    ///
    /// The exchange fails if no frame arrives for [`CallerConfig::grace`] after either.
    pub fn handle_connection(&mut self, now: Time, connection: ConnectionChange) {
        if self.ended {
            return;
        }
        let was_away = std::mem::replace(&mut self.away, connection == ConnectionChange::Lost);
        let grace = now + self.config.grace;
        match connection {
            ConnectionChange::Lost => {
                self.silence_at = None;
                self.returning_until = None;
                self.grace_until = Some(grace);
            }
            ConnectionChange::Restored => {
                self.returning_until = Some(grace);
                self.grace_until = self.grace_until.map(|_| grace);
                if was_away && self.config.idempotent && !self.resent_after_loss && self.is_repeatable() {
                    self.resent_after_loss = true;
                    self.grace_until = None;
                    self.send_again();
                }
                // An attempt that was taken goes on if its consumer responds before the grace is over.
                self.probe_now(now);
            }
        }
    }

    /// Handles the passing of time. Call it at the moment that [`Caller::poll_timeout`] returned; earlier calls do no
    /// harm.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.ended {
            return;
        }
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if self.deadline <= now {
            return self.time_out();
        }
        if self.is_idle(now) {
            return self.fail(FailureKind::ConsumerGone.into(), ResetCode::Idle);
        }
        if due(self.grace_until) {
            return self.fail(FailureKind::ConnectionLost.into(), ResetCode::Cancel);
        }
        if due(self.resend_at) {
            self.resend_at = None;
            self.send_again();
        }
        if due(self.silence_at) {
            self.silence_at = None;
            self.send_again();
        }
        if !self.away && self.watch.is_due(now) {
            self.probe_now(now);
        }
        self.retry_bodies(now);
    }

    /// Ends the exchange because the HTTP client has left. Consumers that work on the request receive RESET(cancel).
    pub fn cancel(&mut self) {
        if !self.ended {
            self.end(None, ResetCode::Cancel, BodyErrorKind::Reset);
        }
    }

    /// Returns how many times the request has been published.
    pub const fn published(&self) -> u8 {
        self.published
    }

    /// Returns whether the exchange has ended: inputs are ignored from now on. Transmits, an event and a body that has
    /// arrived may still be pending.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    fn on_response(&mut self, now: Time, attempt: u8, response: Box<ResponseFrame>) {
        if self.has_responded() {
            return;
        }
        if !response.head.end {
            return self.begin_response(now, attempt, response);
        }
        self.end_well(attempt, Some(CallerEvent::Response(response)));
    }

    /// Ends the exchange after a complete response.
    fn end_well(&mut self, attempt: u8, event: Option<CallerEvent>) {
        // Other consumers that have taken the request must stop. The one that responded has ended by itself.
        if let Some(state) = self.attempt_mut(attempt) {
            *state = Attempt::Over;
        }
        self.end(event, ResetCode::Cancel, BodyErrorKind::Reset);
    }

    fn on_reset(&mut self, now: Time, attempt: u8, reset: Reset) {
        let failure = match reset.code {
            ResetCode::Draining if !reset.ran => {
                return self.try_later(now, attempt, FailureKind::Draining.into());
            }
            ResetCode::Deadline => self.timeout().0.into(),
            ResetCode::Gone => FailureKind::ConsumerGone.into(),
            _ if reset.text.is_empty() => FailureKind::BadResponse.into(),
            _ => Failure::new(FailureKind::BadResponse).with_cause(reset.text),
        };
        self.lose(now, attempt, failure);
    }

    /// Ends the exchange with a failure, or breaks off the body of its response. Consumers receive RESET with `code`.
    fn fail(&mut self, failure: Failure, code: ResetCode) {
        let broken = broken_by(failure.kind(), code);
        let event = (!self.has_responded()).then_some(CallerEvent::Failed(failure));
        self.end(event, code, broken);
    }

    /// Ends the exchange because its deadline has passed.
    pub(super) fn time_out(&mut self) {
        let (kind, code) = self.timeout();
        self.fail(kind.into(), code);
    }

    /// Returns the failure of an exchange whose deadline has passed: that of the side that it waited for.
    fn timeout(&self) -> (FailureKind, ResetCode) {
        match self.waits_for_client() {
            true => (FailureKind::RequestTimedOut, ResetCode::Cancel),
            false => (FailureKind::TimedOut, ResetCode::Deadline),
        }
    }

    fn fail_out_of_order(&mut self, code: ResetCode) {
        self.fail(Failure::new(FailureKind::BadResponse).with_cause("a frame out of order"), code);
    }

    /// Ends the exchange. Consumers receive RESET with `code`, and a body that is not complete is broken off.
    fn end(&mut self, event: Option<CallerEvent>, code: ResetCode, broken: BodyErrorKind) {
        let consumers: Vec<A> = self.attempts().filter_map(Attempt::consumer).cloned().collect();
        for to in consumers {
            self.transmit(Some(to), encode_reset(code), None);
        }
        self.ended = true;
        self.event = self.event.take().or(event);
        if let Some(bodies) = &mut self.bodies {
            bodies.flow.close(broken);
        }
    }

    /// Sends PROBE to each consumer that has a token.
    fn probe_now(&mut self, now: Time) {
        let asked: Vec<(u8, A)> = (0..=u8::MAX)
            .zip(self.attempts())
            .filter_map(|(number, attempt)| Some((number, attempt.consumer()?.clone())))
            .collect();
        if asked.is_empty() {
            self.watch.at = None;
            return;
        }
        // A part of a body may be lost. CREDIT reveals that, because it states how many were sent.
        let is_doubtful = std::mem::take(&mut self.doubtful) || self.returning_until.is_some();
        let standing = self.bodies.is_some().then(|| self.standing().encode()).filter(|_| is_doubtful);
        for (attempt, to) in asked {
            if let Some(standing) = &standing {
                self.transmit(Some(to.clone()), standing.clone(), Some(attempt));
            }
            self.transmit(Some(to), encode_probe(), Some(attempt));
            if let Some(bodies) = &mut self.bodies {
                bodies.bounces.asked();
            }
        }
        self.watch.probed(now);
    }

    fn transmit(&mut self, to: Option<A>, payload: Bytes, reply: Option<u8>) {
        if let Some(to) = to {
            if let (Some(bodies), Some(_)) = (&mut self.bodies, reply) {
                bodies.bounces.sent();
            }
            self.outbox.push_back(CallerTransmit::Frame { to, payload, reply });
        }
    }
}

/// The error with which a failure cuts a body short.
const fn broken_by(kind: FailureKind, code: ResetCode) -> BodyErrorKind {
    match (kind, code) {
        (FailureKind::TimedOut | FailureKind::ConsumerGone | FailureKind::ConnectionLost, _) => {
            BodyErrorKind::TimedOut
        }
        (_, ResetCode::Gap) => BodyErrorKind::Gap,
        _ => BodyErrorKind::Reset,
    }
}

fn encode_reset(code: ResetCode) -> Bytes {
    Reset { code, text: String::new(), ran: true }.encode()
}

#[cfg(test)]
mod tests;
