mod bodies;
mod streaming;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::flow::Bounces;
use super::{ConnectionChange, FlowConfig};
use crate::frame::{Credit, Frame, RequestHead, Reset, ResetCode, Working};
use crate::{BodyErrorKind, Time};
use bodies::Bodies;

/// Settings of a [`Callee`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CalleeConfig {
    /// Time without a response after which the gateway receives WORKING. Default 250 ms.
    pub working_after: Duration,
    /// Interval between further WORKING frames until the response. Default 5 s.
    pub working_every: Duration,
    /// Time in which an absent gateway does not count as gone, after a frame to it first met "no responders" and after the
    /// own connection was restored: the gateway's connection may be restored later. Meanwhile a frame is sent again every
    /// [`CalleeConfig::working_after`]. Default 5 s.
    pub grace: Duration,
    /// Name of this process in its frames, at most 256 bytes. Default `None`.
    pub instance: Option<String>,
    /// Settings of bodies that are longer than one frame.
    pub flow: FlowConfig,
}

impl Default for CalleeConfig {
    fn default() -> Self {
        Self {
            working_after: Duration::from_millis(250),
            working_every: Duration::from_secs(5),
            grace: Duration::from_secs(5),
            instance: None,
            flow: FlowConfig::default(),
        }
    }
}

/// The consumer's side of an exchange, from the receipt of a request to the end of its response.
///
/// See the [module](super) for the order of calls. The consumer needs a token only when it publishes a
/// [`CalleeTransmit`] whose `reply` is true: an exchange with an immediate response in one frame needs none.
#[derive(Debug)]
pub struct Callee<A> {
    config: Arc<CalleeConfig>,
    /// Largest payload that the consumer's server takes, in bytes; 0 if unknown.
    own_max_payload: u64,
    gateway: A,
    deadline: Option<Time>,
    /// When the whole exchange must be over.
    total: Option<Time>,
    /// When the next WORKING is due, or a PROBE after the response.
    working_at: Time,
    /// When a frame to the gateway first met "no responders", unless a later one did not.
    unheard_since: Option<Time>,
    /// Whether the last WORKING met "no responders".
    unheard: bool,
    /// Whether a DATA or the RESPONSE may have met "no responders" since CREDIT was last sent with a PROBE.
    doubtful: bool,
    bounces: Bounces,
    /// Whether the own connection is lost now. Nothing is published meanwhile.
    away: bool,
    /// Until when "no responders" may mean that the gateway is not connected again yet.
    returning_until: Option<Time>,
    /// Credit for the response's body, and the largest payload, as the REQUEST states them.
    credit: u64,
    max_payload: u64,
    outbox: VecDeque<CalleeTransmit<A>>,
    event: Option<CalleeEvent>,
    ended: bool,
    /// Whether it has ended without a complete response.
    given_up: bool,
    /// Allocated when a body is longer than one frame.
    bodies: Option<Box<Bodies>>,
}

/// An encoded frame for the consumer to publish: to the gateway, or a RESET to another sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalleeTransmit<A> {
    /// The token to publish to.
    pub to: A,
    /// The frame.
    pub payload: Bytes,
    /// Whether the message names the consumer's token as its reply.
    pub reply: bool,
}

/// An event of an exchange, for the consumer. Exhaustive: a driver must handle each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalleeEvent {
    /// The response is not wanted any more. Drop the handler.
    Cancelled(Cancelled),
}

/// Why a response is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cancelled {
    /// The exchange is of no use any more: the HTTP client left or is late with its body, or another attempt won.
    ByCaller,
    /// The gateway is gone, or does not know the exchange any more.
    Gone,
    /// The deadline has passed.
    Deadline,
    /// No frame arrived from the gateway for too long.
    Idle,
    /// A part of the request's body was lost, or the gateway violated the protocol.
    Broken,
}

impl<A: Clone + PartialEq> Callee<A> {
    /// Begins an exchange with a request that was received at `now`. The response goes to `gateway`.
    ///
    /// `max_payload` is the largest payload, in bytes, that the consumer's server takes, or 0 if that is unknown. ACCEPT
    /// states it to the gateway, and no larger DATA is sent.
    pub fn new(
        now: Time,
        head: &RequestHead,
        gateway: A,
        max_payload: u64,
        config: Arc<CalleeConfig>,
    ) -> Self {
        let budget = match (head.head_timeout, head.total_timeout) {
            (Some(head), Some(total)) => Some(head.min(total)),
            (head, total) => head.or(total),
        };
        Self {
            gateway,
            deadline: budget.map(|budget| now + budget),
            total: head.total_timeout.map(|total| now + total),
            working_at: now + config.working_after,
            config,
            own_max_payload: max_payload,
            unheard_since: None,
            unheard: false,
            doubtful: false,
            bounces: Bounces::default(),
            away: false,
            returning_until: None,
            credit: head.credit,
            max_payload: head.max_payload,
            outbox: VecDeque::new(),
            event: None,
            ended: false,
            given_up: false,
            bodies: None,
        }
    }

    /// Returns the address to which the response goes.
    pub const fn gateway(&self) -> &A {
        &self.gateway
    }

    /// Returns when the response's head must be sent, or after it, when the exchange must be over. Returns `None` if the
    /// time is unlimited. A request's body that makes progress moves the deadline.
    pub const fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// Returns the next message to publish, or `None` if there is none for now.
    ///
    /// While the connection is lost, there is none before the end of the exchange: messages would be out of date when they
    /// are sent.
    pub fn poll_transmit(&mut self) -> Option<CalleeTransmit<A>> {
        if self.away && !self.ended {
            return None;
        }
        self.outbox.pop_front().or_else(|| self.poll_bodies())
    }

    /// Returns the event of the exchange once, and `None` otherwise.
    pub const fn poll_event(&mut self) -> Option<CalleeEvent> {
        self.event.take()
    }

    /// Returns when to call [`Callee::handle_timeout`], or `None` if the exchange has ended.
    pub fn poll_timeout(&self) -> Option<Time> {
        let others = [self.deadline, self.poll_bodies_timeout()];
        (!self.ended).then(|| others.into_iter().flatten().fold(self.working_at, Time::min))
    }

    /// Handles a frame that arrived at the consumer's token. `reply` is the reply subject that it names.
    pub fn handle_frame(&mut self, now: Time, frame: Frame, reply: Option<A>) {
        if self.ended {
            return;
        }
        if let Frame::Reset(reset) = frame {
            if self.is_confirming() {
                return self.end(BodyErrorKind::Reset);
            }
            return self.cancelled(match reset.code {
                ResetCode::Gone => Cancelled::Gone,
                ResetCode::Deadline => Cancelled::Deadline,
                ResetCode::Idle => Cancelled::Idle,
                ResetCode::Flow | ResetCode::Gap => Cancelled::Broken,
                _ => Cancelled::ByCaller,
            });
        }
        match reply {
            Some(reply) if reply == self.gateway => self.on_frame(now, frame),
            Some(other) => self.transmit(other, encode_reset(ResetCode::Gone, true), false),
            None => {}
        }
    }

    /// Handles an invalid payload that arrived at the consumer's token.
    pub fn handle_malformed(&mut self, _now: Time) {
        self.break_off(ResetCode::Internal, Cancelled::Broken);
    }

    /// Handles "no responders": no subscription received a frame to the gateway.
    ///
    /// The gateway may be absent for [`CalleeConfig::grace`]. The exchange ends at once if a part of the response's body is
    /// certainly lost.
    pub fn handle_no_responders(&mut self, now: Time) {
        if self.ended {
            return;
        }
        let has_sent = self.bodies.as_ref().is_some_and(|bodies| bodies.flow.has_sent());
        if self.bounces.bounced() && has_sent {
            return self.break_off(ResetCode::Gap, Cancelled::Gone);
        }
        let since = *self.unheard_since.get_or_insert(now);
        let until = self.returning_until.map_or(since, |until| until.max(since));
        let until = until.max(since + self.config.grace);
        if until <= now && !self.away {
            return self.cancelled(Cancelled::Gone);
        }
        (self.unheard, self.doubtful) = (true, true);
        self.working_at = now + self.config.working_after;
    }

    /// Handles the loss or the restoration of the connection to NATS.
    pub fn handle_connection(&mut self, now: Time, connection: ConnectionChange) {
        if self.ended {
            return;
        }
        let was_away = std::mem::replace(&mut self.away, connection == ConnectionChange::Lost);
        if self.away {
            return;
        }
        self.returning_until = Some(now + self.config.grace);
        if self.resume_bodies(now) {
            self.call(true);
        } else if was_away {
            self.working_at = self.working_at.min(now);
        }
    }

    /// Handles the passing of time. Call it at the moment that [`Callee::poll_timeout`] returned; earlier calls do no
    /// harm.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.ended {
            return;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            if self.is_confirming() {
                return self.end(BodyErrorKind::Reset);
            }
            let why = if self.waits_for_client() { Cancelled::ByCaller } else { Cancelled::Deadline };
            return self.break_off(ResetCode::Deadline, why);
        }
        if self.working_at <= now {
            self.working_due(now);
        }
        if !self.ended {
            self.handle_bodies_timeout(now);
        }
    }

    /// Sends WORKING, or asks for the gateway after the response.
    fn working_due(&mut self, now: Time) {
        if self.away {
            self.working_at = now + self.config.working_every;
            return;
        }
        if !std::mem::take(&mut self.unheard) {
            self.unheard_since = None;
        }
        let is_unheard = self.unheard_since.is_some();
        if self.is_confirming() {
            return self.confirm(now);
        }
        let pause = if is_unheard { self.config.working_after } else { self.config.working_every };
        self.working_at = if self.has_responded() && !is_unheard { Time::MAX } else { now + pause };
        self.call(self.doubtful);
    }

    /// Shows the gateway that this side is there: with WORKING, or with a PROBE after the response. If `is_doubtful`, the
    /// gateway may have missed frames: the response is sent again, and CREDIT states how many DATA were sent.
    fn call(&mut self, is_doubtful: bool) {
        self.doubtful = false;
        let mut frames = Vec::new();
        let bodies = self.bodies.as_deref();
        let has_responded = self.has_responded();
        if !has_responded {
            let version = crate::frame::VERSION;
            frames.push(Working { version, instance: self.config.instance.clone() }.encode());
        }
        let is_watching = bodies.is_some_and(|bodies| bodies.watch.at.is_some());
        if is_doubtful && let Some(bodies) = bodies {
            frames.extend(bodies.response.clone());
            frames.extend(is_watching.then(|| bodies.flow.standing().encode()));
        }
        for frame in frames {
            self.transmit(self.gateway.clone(), frame, true);
        }
        if has_responded || (is_doubtful && is_watching) {
            self.probe();
        }
    }

    /// Gives the request up. The gateway receives RESET with `code` and `text`; `ran` states whether the handler ran, or
    /// may have.
    pub fn abort(&mut self, code: ResetCode, text: &str, ran: bool) {
        if !self.ended {
            if !self.is_confirming() {
                let reset = Reset { code, text: text.to_owned(), ran };
                self.transmit(self.gateway.clone(), reset.encode(), false);
            }
            self.end(BodyErrorKind::Reset);
        }
    }

    /// Responds with this encoded RESPONSE, which has the whole body. The exchange ends.
    ///
    /// If the gateway may not have been reachable lately, the exchange ends later: the response is sent again until the
    /// gateway has received it, at most for [`CalleeConfig::grace`].
    pub fn respond(&mut self, now: Time, response: Bytes) {
        if self.ended || self.is_confirming() {
            return;
        }
        let is_returning = self.returning_until.is_some_and(|until| now < until);
        if self.away || is_returning || self.unheard_since.is_some() {
            self.begin_to_confirm(now, response);
        } else {
            self.transmit(self.gateway.clone(), response, false);
            self.complete();
        }
    }

    /// Returns whether the exchange has ended, by a whole response, an abort or a cancellation. Inputs are ignored from
    /// now on. Transmits, an event and a body that has arrived may still be pending.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Returns whether the exchange has ended, and not by a complete response: by an abort, a cancellation, or because the
    /// gateway was not reachable in time. A message that is not sent yet is of no use any more, unless it is a RESET.
    pub const fn has_given_up(&self) -> bool {
        self.given_up
    }

    /// Ends the exchange with a RESET to the gateway and an event for the consumer.
    fn break_off(&mut self, code: ResetCode, why: Cancelled) {
        if !self.ended {
            self.transmit(self.gateway.clone(), encode_reset(code, true), false);
            self.cancelled(why);
        }
    }

    /// Ends the exchange with an event for the consumer, unless the handler's work is done.
    fn cancelled(&mut self, why: Cancelled) {
        if self.is_confirming() {
            return self.end(BodyErrorKind::Reset);
        }
        self.end(match why {
            Cancelled::ByCaller => BodyErrorKind::Reset,
            Cancelled::Broken => BodyErrorKind::Gap,
            Cancelled::Gone | Cancelled::Deadline | Cancelled::Idle => BodyErrorKind::TimedOut,
        });
        self.event = Some(CalleeEvent::Cancelled(why));
    }

    /// Ends the exchange after a complete response.
    pub(super) fn complete(&mut self) {
        self.close(BodyErrorKind::Reset);
    }

    /// Ends the exchange without a complete response, or because the gateway does not confirm that it has received it.
    fn end(&mut self, broken: BodyErrorKind) {
        self.given_up = true;
        self.close(broken);
    }

    /// Ends the exchange. A request's body that is not complete is broken off.
    fn close(&mut self, broken: BodyErrorKind) {
        self.ended = true;
        if let Some(bodies) = &mut self.bodies {
            bodies.flow.close(broken);
        }
    }

    /// Returns the CREDIT that responds to a PROBE.
    fn standing(&self) -> Credit {
        self.bodies.as_ref().map(|bodies| bodies.flow.standing()).unwrap_or_default()
    }

    fn transmit(&mut self, to: A, payload: Bytes, reply: bool) {
        if reply {
            self.bounces.sent();
        }
        self.outbox.push_back(CalleeTransmit { to, payload, reply });
    }
}

fn encode_reset(code: ResetCode, ran: bool) -> Bytes {
    Reset { code, text: String::new(), ran }.encode()
}

#[cfg(test)]
mod tests;
