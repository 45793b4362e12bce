mod attempts;
mod bodies;
mod config;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::flow::Watch;
use super::{ConnectionChange, FlowConfig};
use crate::frame::{DecodeError, Frame, Reset, ResetCode, ResponseFrame, encode_probe};
use crate::{BodyErrorKind, Failure, FailureKind, Time};
use attempts::Attempt;
use bodies::Bodies;

pub use config::CallerConfig;

/// The gateway's side of an exchange.
///
/// See the [module](super) for the order of calls. Once it has ended, nothing changes it. It ends with its first event,
/// unless that is a response with more to come.
#[derive(Debug)]
pub struct Caller<A> {
    config: CallerConfig,
    /// Attempt 0; the others are rare.
    first: Attempt<A>,
    others: Vec<Attempt<A>>,
    deadline: Time,
    /// When everything must be over.
    total: Option<Time>,
    /// When an idempotent request that nobody has reacted to is sent again.
    silence_at: Option<Time>,
    /// When a refused request is sent again.
    resend_at: Option<Time>,
    resends_left: u8,
    /// Until when a lost connection is forgiven.
    grace_until: Option<Time>,
    resent_after_loss: bool,
    /// Until when consumers that nobody finds may be about to connect again too.
    returning_until: Option<Time>,
    watch: Watch,
    /// How many attempts have been given out to be published.
    published: u8,
    outbox: VecDeque<CallerTransmit<A>>,
    event: Option<CallerEvent>,
    ended: bool,
    random: u64,
    /// Set if bodies may be longer than one frame.
    flow: Option<Arc<FlowConfig>>,
    /// Made when one is.
    bodies: Option<Box<Bodies>>,
}

/// What comes of an exchange for the gateway.
#[derive(Debug)]
pub enum CallerEvent {
    /// The handler's response. If its head does not say that it ends here, its body is empty, and is to be read by
    /// [`Caller::poll_read`] from its first byte.
    Response(Box<ResponseFrame>),
    /// There will be none.
    Failed(Failure),
}

/// What the gateway is to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerTransmit<A> {
    /// The request itself, to the app's subject. Its reply is a new token of the gateway, the one of this attempt.
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
    /// A request about to be sent; `seed` is the source of the random pauses.
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
            returning_until: None,
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

    /// What is to be published next.
    pub fn poll_transmit(&mut self) -> Option<CallerTransmit<A>> {
        let attempt = self.published;
        if !self.ended && usize::from(attempt) <= self.others.len() && self.is_repeatable() {
            self.published += 1;
            return Some(CallerTransmit::Request { attempt });
        }
        self.outbox.pop_front().or_else(|| self.poll_bodies())
    }

    /// What came of the exchange; given once.
    pub const fn poll_event(&mut self) -> Option<CallerEvent> {
        self.event.take()
    }

    /// When [`Caller::handle_timeout`] is to be called; none once the exchange has ended.
    pub fn poll_timeout(&self) -> Option<Time> {
        let others =
            [self.silence_at, self.resend_at, self.grace_until, self.watch.at, self.poll_bodies_timeout()];
        let earliest = others.into_iter().flatten().fold(self.deadline, Time::min);
        (!self.ended).then_some(earliest)
    }

    /// A frame came to the token of `attempt`, naming `reply`.
    pub fn handle_frame(&mut self, now: Time, attempt: u8, frame: Frame, reply: Option<A>) {
        if self.ended || !self.admit(now, attempt, &frame, reply.as_ref()) {
            return;
        }
        match frame {
            Frame::Response(response) => self.answered(now, attempt, response),
            Frame::Refused(refused) => self.refused(now, attempt, &refused),
            Frame::Reset(reset) => self.reset(now, attempt, reset),
            Frame::Probe => self.transmit(reply, self.standing().encode(), Some(attempt)),
            Frame::Accept(accept) => self.accepted(now, attempt, &accept),
            Frame::Credit(credit) => self.credited(now, attempt, &credit),
            Frame::Data(data) => self.received(now, data),
            Frame::Working(_) => {}
            Frame::Request(_) => self.out_of_order(ResetCode::Internal),
        }
    }

    /// Something that is no frame came to the token of `attempt`.
    pub fn handle_malformed(&mut self, _now: Time, attempt: u8, error: &DecodeError) {
        if self.ended || matches!(self.attempt(attempt), None | Some(Attempt::Over)) {
            return;
        }
        self.fail(Failure::new(FailureKind::BadResponse).with_detail(error.to_string()), ResetCode::Internal);
    }

    /// NATS says that nobody listens where the request of `attempt`, or a PROBE of it, was sent.
    pub fn handle_no_responders(&mut self, now: Time, attempt: u8) {
        if self.ended {
            return;
        }
        let returning = self.returning_until.is_some_and(|until| now < until);
        let again = now + self.config.grace / 4;
        let kind = match self.attempt(attempt) {
            Some(Attempt::Sent) if returning && self.resends_left > 0 => {
                self.resends_left -= 1;
                self.resend_at = Some(again);
                return self.lose(now, attempt, FailureKind::NoConsumer.into());
            }
            Some(Attempt::Taken { .. }) if returning => {
                self.watch.ask_at(again);
                return;
            }
            Some(Attempt::Sent) => FailureKind::NoConsumer,
            Some(Attempt::Taken { .. }) => FailureKind::ConsumerGone,
            Some(Attempt::Over) | None => return,
        };
        // Where nobody listens now, nobody is left who might have taken an earlier attempt in silence.
        if kind == FailureKind::NoConsumer && !self.attempts().any(|attempt| attempt.is_taken()) {
            return self.fail(kind.into(), ResetCode::Cancel);
        }
        self.lose(now, attempt, kind.into());
    }

    /// The connection to NATS broke, or is back.
    pub fn handle_connection(&mut self, now: Time, connection: ConnectionChange) {
        if self.ended {
            return;
        }
        self.returning_until = (connection == ConnectionChange::Restored).then(|| now + self.config.grace);
        match connection {
            ConnectionChange::Lost => {
                self.silence_at = None;
                self.grace_until.get_or_insert(now + self.config.grace);
            }
            ConnectionChange::Restored
                if self.config.idempotent && !self.resent_after_loss && self.is_repeatable() =>
            {
                self.resent_after_loss = true;
                self.grace_until = None;
                self.send_again();
            }
            // What was taken goes on if its consumer says so before the grace is over.
            ConnectionChange::Restored => self.probe_now(now),
        }
    }

    /// The moment that [`Caller::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.ended {
            return;
        }
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if self.deadline <= now {
            return self.fail(FailureKind::TimedOut.into(), ResetCode::Deadline);
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
        if self.watch.is_due(now) {
            self.probe_now(now);
        }
        self.retry_bodies(now);
    }

    /// The HTTP client is gone: whoever works for it is told.
    pub fn cancel(&mut self) {
        if !self.ended {
            self.end(None, ResetCode::Cancel, BodyErrorKind::Reset);
        }
    }

    /// How often the request has been sent.
    pub const fn published(&self) -> u8 {
        self.published
    }

    /// Whether nothing more is to be published, or to come. A body that has come may still have to be read.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    fn answered(&mut self, now: Time, attempt: u8, response: Box<ResponseFrame>) {
        if self.has_responded() {
            return;
        }
        if !response.head.end {
            return self.begin_response(now, attempt, response);
        }
        self.end_well(attempt, Some(CallerEvent::Response(response)));
    }

    /// The response has come to its end, and so has the exchange.
    fn end_well(&mut self, attempt: u8, event: Option<CallerEvent>) {
        // Whoever else has taken the request is told to stop; the one that answered has ended by itself.
        if let Some(state) = self.attempt_mut(attempt) {
            *state = Attempt::Over;
        }
        self.end(event, ResetCode::Cancel, BodyErrorKind::Reset);
    }

    fn reset(&mut self, now: Time, attempt: u8, reset: Reset) {
        let failure = match reset.code {
            ResetCode::Draining if !reset.ran => {
                return self.try_later(now, attempt, FailureKind::Draining.into());
            }
            ResetCode::Deadline => FailureKind::TimedOut.into(),
            ResetCode::Gone => FailureKind::ConsumerGone.into(),
            _ if reset.text.is_empty() => FailureKind::BadResponse.into(),
            _ => Failure::new(FailureKind::BadResponse).with_detail(reset.text),
        };
        self.lose(now, attempt, failure);
    }

    fn fail(&mut self, failure: Failure, code: ResetCode) {
        let broken = broken_by(failure.kind(), code);
        let event = (!self.has_responded()).then_some(CallerEvent::Failed(failure));
        self.end(event, code, broken);
    }

    fn out_of_order(&mut self, code: ResetCode) {
        self.fail(Failure::new(FailureKind::BadResponse).with_detail("a frame out of order"), code);
    }

    fn end(&mut self, event: Option<CallerEvent>, code: ResetCode, broken: BodyErrorKind) {
        let told: Vec<A> = self.attempts().filter_map(Attempt::consumer).cloned().collect();
        for to in told {
            self.transmit(Some(to), reset(code), None);
        }
        self.ended = true;
        self.event = self.event.take().or(event);
        if let Some(bodies) = &mut self.bodies {
            bodies.flow.close(broken);
        }
    }

    fn probe_now(&mut self, now: Time) {
        let asked: Vec<(u8, A)> = (0..=u8::MAX)
            .zip(self.attempts())
            .filter_map(|(number, attempt)| Some((number, attempt.consumer()?.clone())))
            .collect();
        if asked.is_empty() {
            self.watch.at = None;
            return;
        }
        for (attempt, to) in asked {
            self.transmit(Some(to), encode_probe(), Some(attempt));
        }
        self.watch.asked(now);
    }

    fn transmit(&mut self, to: Option<A>, payload: Bytes, reply: Option<u8>) {
        if let Some(to) = to {
            self.outbox.push_back(CallerTransmit::Frame { to, payload, reply });
        }
    }
}

/// What a body breaks off with that is cut short by a failure.
const fn broken_by(kind: FailureKind, code: ResetCode) -> BodyErrorKind {
    match (kind, code) {
        (FailureKind::TimedOut | FailureKind::ConsumerGone | FailureKind::ConnectionLost, _) => {
            BodyErrorKind::TimedOut
        }
        (_, ResetCode::Gap) => BodyErrorKind::Gap,
        _ => BodyErrorKind::Reset,
    }
}

fn reset(code: ResetCode) -> Bytes {
    Reset { code, text: String::new(), ran: true }.encode()
}

#[cfg(test)]
mod tests;
