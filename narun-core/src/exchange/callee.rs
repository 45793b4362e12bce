mod bodies;
mod streaming;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::FlowConfig;
use crate::frame::{Credit, Frame, RequestHead, Reset, ResetCode, Working, encode_probe};
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
    /// Time for which frames to the gateway may meet "no responders" before the gateway counts as gone: its connection
    /// may be lost and restored soon. Meanwhile a frame is sent again every [`CalleeConfig::working_after`]. Default 2 s.
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
            grace: Duration::from_secs(2),
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
    /// Credit for the response's body, and the largest payload, as the REQUEST states them.
    credit: u64,
    max_payload: u64,
    outbox: VecDeque<CalleeTransmit<A>>,
    event: Option<CalleeEvent>,
    ended: bool,
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
            credit: head.credit,
            max_payload: head.max_payload,
            outbox: VecDeque::new(),
            event: None,
            ended: false,
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
    pub fn poll_transmit(&mut self) -> Option<CalleeTransmit<A>> {
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
    pub fn handle_no_responders(&mut self, now: Time) {
        if self.ended {
            return;
        }
        let since = *self.unheard_since.get_or_insert(now);
        if now - since >= self.config.grace {
            return self.cancelled(Cancelled::Gone);
        }
        self.unheard = true;
        self.working_at = now + self.config.working_after;
    }

    /// Handles the passing of time. Call it at the moment that [`Callee::poll_timeout`] returned; earlier calls do no
    /// harm.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.ended {
            return;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let why = if self.waits_for_client() { Cancelled::ByCaller } else { Cancelled::Deadline };
            return self.break_off(ResetCode::Deadline, why);
        }
        if self.working_at <= now {
            if !std::mem::take(&mut self.unheard) {
                self.unheard_since = None;
            }
            let pause = self.unheard_since.map_or(self.config.working_every, |_| self.config.working_after);
            let (at, payload) = if !self.has_responded() {
                let working =
                    Working { version: crate::frame::VERSION, instance: self.config.instance.clone() };
                (now + pause, working.encode())
            } else if self.unheard_since.is_some() {
                (now + pause, encode_probe())
            } else {
                (Time::MAX, encode_probe())
            };
            self.working_at = at;
            self.transmit(self.gateway.clone(), payload, true);
        }
        self.handle_bodies_timeout(now);
    }

    /// Gives the request up. The gateway receives RESET with `code` and `text`; `ran` states whether the handler ran, or
    /// may have.
    pub fn abort(&mut self, code: ResetCode, text: &str, ran: bool) {
        if !self.ended {
            let reset = Reset { code, text: text.to_owned(), ran };
            self.transmit(self.gateway.clone(), reset.encode(), false);
            self.end(BodyErrorKind::Reset);
        }
    }

    /// Responds with this encoded RESPONSE, which has the whole body. The exchange ends.
    pub fn respond(&mut self, _now: Time, response: Bytes) {
        if !self.ended {
            self.transmit(self.gateway.clone(), response, false);
            self.end(BodyErrorKind::Reset);
        }
    }

    /// Returns whether the exchange has ended, by a whole response, an abort or a cancellation. Inputs are ignored from
    /// now on. Transmits, an event and a body that has arrived may still be pending.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Ends the exchange with a RESET to the gateway and an event for the consumer.
    fn break_off(&mut self, code: ResetCode, why: Cancelled) {
        if !self.ended {
            self.transmit(self.gateway.clone(), encode_reset(code, true), false);
            self.cancelled(why);
        }
    }

    /// Ends the exchange with an event for the consumer.
    fn cancelled(&mut self, why: Cancelled) {
        self.end(match why {
            Cancelled::ByCaller => BodyErrorKind::Reset,
            Cancelled::Broken => BodyErrorKind::Gap,
            Cancelled::Gone | Cancelled::Deadline | Cancelled::Idle => BodyErrorKind::TimedOut,
        });
        self.event = Some(CalleeEvent::Cancelled(why));
    }

    /// Ends the exchange. A request's body that is not complete is broken off.
    fn end(&mut self, broken: BodyErrorKind) {
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
        self.outbox.push_back(CalleeTransmit { to, payload, reply });
    }
}

fn encode_reset(code: ResetCode, ran: bool) -> Bytes {
    Reset { code, text: String::new(), ran }.encode()
}

#[cfg(test)]
mod tests;
