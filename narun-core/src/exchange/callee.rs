mod bodies;

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
pub struct CalleeConfig {
    /// After how long without a response the gateway is told that the request has arrived. Default 250 ms.
    pub working_after: Duration,
    /// How often it is told again. Default 5 s.
    pub working_every: Duration,
    /// How long nobody may listen where the gateway was before it counts as gone: its connection may be lost, and back
    /// soon. Until then it is told again after every [`CalleeConfig::working_after`]. Default 2 s.
    pub grace: Duration,
    /// The name of this process in what it sends. Default none.
    pub instance: Option<String>,
    /// Bodies longer than one frame.
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
/// See the [module](super) for the order of calls. It needs no token of the consumer before its first
/// [`Transmit::Frame`] with a reply: an exchange that is answered at once has none.
#[derive(Debug)]
pub struct Callee<A> {
    config: Arc<CalleeConfig>,
    /// The largest payload that the own server takes, 0 if unknown.
    own_max_payload: u64,
    gateway: A,
    deadline: Option<Time>,
    /// When everything must be over.
    total: Option<Time>,
    working_at: Time,
    /// Since when nobody has listened where the gateway was, as far as is known.
    unheard_since: Option<Time>,
    /// Whether the last WORKING met nobody.
    unheard: bool,
    /// How far the REQUEST lets the response's body be sent, and the largest payload it names.
    credit: u64,
    max_payload: u64,
    outbox: VecDeque<CalleeTransmit<A>>,
    event: Option<CalleeEvent>,
    ended: bool,
    /// Made when a body is longer than one frame.
    bodies: Option<Box<Bodies>>,
}

/// An encoded frame to the gateway, or to a stranger that takes itself for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalleeTransmit<A> {
    /// The gateway's token.
    pub to: A,
    /// The frame.
    pub payload: Bytes,
    /// Whether the consumer's token is named as reply.
    pub reply: bool,
}

/// What the consumer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalleeEvent {
    /// Nobody waits for the response any more: drop the handler.
    Cancelled(Cancelled),
}

/// Why nobody waits any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cancelled {
    /// The gateway said so: its HTTP client left, or another attempt won.
    ByCaller,
    /// The gateway, or its interest, is gone.
    Gone,
    /// The time allowed is over.
    Deadline,
    /// Nothing came from the gateway for too long.
    Idle,
    /// A part of the request's body was lost, or the gateway keeps to no rules.
    Broken,
}

impl<A: Clone + PartialEq> Callee<A> {
    /// A request that was received at `now`, whose response goes to `gateway`.
    ///
    /// `max_payload` is the largest payload, in bytes, that the consumer's server takes, or 0 if that is unknown. The
    /// gateway learns it with ACCEPT, and no larger frame is sent.
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

    /// Where the response goes.
    pub const fn gateway(&self) -> &A {
        &self.gateway
    }

    /// When the response must be there, or everything be over, as far as is known now.
    pub const fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// What is to be published next.
    pub fn poll_transmit(&mut self) -> Option<CalleeTransmit<A>> {
        self.outbox.pop_front().or_else(|| self.poll_bodies())
    }

    /// What the consumer is to be told; given once.
    pub const fn poll_event(&mut self) -> Option<CalleeEvent> {
        self.event.take()
    }

    /// When [`Callee::handle_timeout`] is to be called; none once the exchange has ended.
    pub fn poll_timeout(&self) -> Option<Time> {
        let others = [self.deadline, self.poll_bodies_timeout()];
        (!self.ended).then(|| others.into_iter().flatten().fold(self.working_at, Time::min))
    }

    /// A frame came to our token, naming `reply`.
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
            Some(reply) if reply == self.gateway => self.admitted(now, frame),
            Some(stranger) => self.transmit(stranger, reset(ResetCode::Gone, true), false),
            None => {}
        }
    }

    /// Something that is no frame came to our token.
    pub fn handle_malformed(&mut self, _now: Time) {
        self.give_up(ResetCode::Internal, Cancelled::Broken);
    }

    /// NATS says that nobody listens where the gateway was.
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

    /// The moment that [`Callee::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.ended {
            return;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return self.give_up(ResetCode::Deadline, Cancelled::Deadline);
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

    /// The consumer gives the request up, and says why.
    pub fn abort(&mut self, code: ResetCode, text: &str, ran: bool) {
        if !self.ended {
            let reset = Reset { code, text: text.to_owned(), ran };
            self.transmit(self.gateway.clone(), reset.encode(), false);
            self.end(BodyErrorKind::Reset);
        }
    }

    /// The handler has answered with this encoded RESPONSE, whole: nothing follows.
    pub fn respond(&mut self, _now: Time, response: Bytes) {
        if !self.ended {
            self.transmit(self.gateway.clone(), response, false);
            self.end(BodyErrorKind::Reset);
        }
    }

    /// Whether it was answered to the end, aborted or cancelled. What has come of a body may still have to be read.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Tells the gateway that it is over, and the consumer.
    fn give_up(&mut self, code: ResetCode, why: Cancelled) {
        if !self.ended {
            self.transmit(self.gateway.clone(), reset(code, true), false);
            self.cancelled(why);
        }
    }

    fn cancelled(&mut self, why: Cancelled) {
        self.end(match why {
            Cancelled::ByCaller => BodyErrorKind::Reset,
            Cancelled::Broken => BodyErrorKind::Gap,
            Cancelled::Gone | Cancelled::Deadline | Cancelled::Idle => BodyErrorKind::TimedOut,
        });
        self.event = Some(CalleeEvent::Cancelled(why));
    }

    fn end(&mut self, broken: BodyErrorKind) {
        self.ended = true;
        if let Some(bodies) = &mut self.bodies {
            bodies.flow.close(broken);
        }
    }

    /// What the gateway is told that asks.
    fn standing(&self) -> Credit {
        self.bodies.as_ref().map(|bodies| bodies.flow.standing()).unwrap_or_default()
    }

    fn transmit(&mut self, to: A, payload: Bytes, reply: bool) {
        self.outbox.push_back(CalleeTransmit { to, payload, reply });
    }
}

fn reset(code: ResetCode, ran: bool) -> Bytes {
    Reset { code, text: String::new(), ran }.encode()
}

#[cfg(test)]
mod tests;
