use std::collections::VecDeque;
use std::time::Duration;

use super::Transmit;
use crate::Time;
use crate::frame::{Credit, Frame, RequestHead, Reset, ResetCode, Working};

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
}

impl Default for CalleeConfig {
    fn default() -> Self {
        Self {
            working_after: Duration::from_millis(250),
            working_every: Duration::from_secs(5),
            grace: Duration::from_secs(2),
            instance: None,
        }
    }
}

/// The consumer's side of an exchange, from the receipt of a request to its response.
///
/// See the [module](super) for the order of calls. It needs no token of the consumer before its first
/// [`Transmit::Frame`] with a reply: an exchange that is answered at once has none.
#[derive(Debug)]
pub struct Callee<A> {
    gateway: A,
    deadline: Option<Time>,
    working_at: Time,
    /// Since when nobody has listened where the gateway was, as far as is known.
    unheard_since: Option<Time>,
    /// Whether the last WORKING met nobody.
    unheard: bool,
    outbox: VecDeque<Transmit<A>>,
    event: Option<CalleeEvent>,
    ended: bool,
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
}

impl<A: Clone + PartialEq> Callee<A> {
    /// A request that was received at `now`, to be answered to `gateway`.
    pub fn new(now: Time, head: &RequestHead, gateway: A, config: &CalleeConfig) -> Self {
        let budget = match (head.head_timeout, head.total_timeout) {
            (Some(head), Some(total)) => Some(head.min(total)),
            (head, total) => head.or(total),
        };
        Self {
            gateway,
            deadline: budget.map(|budget| now + budget),
            working_at: now + config.working_after,
            unheard_since: None,
            unheard: false,
            outbox: VecDeque::new(),
            event: None,
            ended: false,
        }
    }

    /// Where the response goes.
    pub const fn gateway(&self) -> &A {
        &self.gateway
    }

    /// When everything must be over.
    pub const fn deadline(&self) -> Option<Time> {
        self.deadline
    }

    /// What is to be published next.
    pub fn poll_transmit(&mut self) -> Option<Transmit<A>> {
        self.outbox.pop_front()
    }

    /// What the consumer is to be told; given once.
    pub const fn poll_event(&mut self) -> Option<CalleeEvent> {
        self.event.take()
    }

    /// When [`Callee::handle_timeout`] is to be called; none once the exchange has ended.
    pub fn poll_timeout(&self) -> Option<Time> {
        (!self.ended).then(|| self.deadline.map_or(self.working_at, |deadline| deadline.min(self.working_at)))
    }

    /// A frame came to our token, naming `reply`.
    pub fn handle_frame(&mut self, frame: &Frame, reply: Option<A>) {
        if self.ended {
            return;
        }
        match frame {
            Frame::Reset(reset) => self.cancelled(match reset.code {
                ResetCode::Gone => Cancelled::Gone,
                ResetCode::Deadline => Cancelled::Deadline,
                _ => Cancelled::ByCaller,
            }),
            _ => match reply {
                Some(reply) if reply == self.gateway => {
                    if matches!(frame, Frame::Probe) {
                        self.transmit(reply, Credit::default().encode(), Some(0));
                    }
                }
                Some(stranger) => self.transmit(stranger, reset(ResetCode::Gone, true), None),
                None => {}
            },
        }
    }

    /// NATS says that nobody listens where the gateway was.
    pub fn handle_no_responders(&mut self, now: Time, config: &CalleeConfig) {
        if self.ended {
            return;
        }
        let since = *self.unheard_since.get_or_insert(now);
        if now - since >= config.grace {
            return self.cancelled(Cancelled::Gone);
        }
        self.unheard = true;
        self.working_at = now + config.working_after;
    }

    /// The moment that [`Callee::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Time, config: &CalleeConfig) {
        if self.ended {
            return;
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.transmit(self.gateway.clone(), reset(ResetCode::Deadline, true), None);
            self.cancelled(Cancelled::Deadline);
        } else if self.working_at <= now {
            if !std::mem::take(&mut self.unheard) {
                self.unheard_since = None;
            }
            let pause = self.unheard_since.map_or(config.working_every, |_| config.working_after);
            self.working_at = now + pause;
            let working = Working { version: crate::frame::VERSION, instance: config.instance.clone() };
            self.transmit(self.gateway.clone(), working.encode(), Some(0));
        }
    }

    /// The consumer gives the request up, and says why.
    pub fn abort(&mut self, code: ResetCode, text: String, ran: bool) {
        if !self.ended {
            self.transmit(self.gateway.clone(), Reset { code, text, ran }.encode(), None);
            self.ended = true;
        }
    }

    /// The handler has answered with this encoded RESPONSE, whole: nothing follows.
    pub fn respond(&mut self, response: bytes::Bytes) {
        if !self.ended {
            self.transmit(self.gateway.clone(), response, None);
            self.ended = true;
        }
    }

    /// Whether it was answered, aborted or cancelled.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    fn cancelled(&mut self, why: Cancelled) {
        self.ended = true;
        self.event = Some(CalleeEvent::Cancelled(why));
    }

    fn transmit(&mut self, to: A, payload: bytes::Bytes, reply: Option<u8>) {
        self.outbox.push_back(Transmit::Frame { to, payload, reply });
    }
}

fn reset(code: ResetCode, ran: bool) -> bytes::Bytes {
    Reset { code, text: String::new(), ran }.encode()
}

#[cfg(test)]
mod tests;
