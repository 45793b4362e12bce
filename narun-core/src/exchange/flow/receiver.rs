use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::pieces::Pieces;
use super::{Budget, FlowConfig};
use crate::frame::{Data, ResetCode};

/// After how many DATA credit is renewed although less than half of it was taken: whoever sends small ones may
/// send no more than a few hundred without.
const CROWD: u32 = 64;

/// One direction of an exchange where the bytes are read.
#[derive(Debug)]
pub(in crate::exchange) struct Receiver {
    /// Number of the last DATA.
    last: u64,
    /// Offset up to which bytes have come, and up to which they were read.
    received: u64,
    taken: u64,
    /// Offset up to which they came inline, without credit.
    inline: u64,
    /// Offset up to which they may come.
    granted: u64,
    /// What could come and was not read when credit was last given, and offset of what was read then.
    size: u64,
    taken_then: u64,
    /// DATA since then.
    since: u32,
    queue: Pieces,
    state: State,
    /// Whether the reader wants more than came inline.
    asked: bool,
    /// Whether the budget had nothing left when it was needed.
    starved: bool,
    window: u64,
    /// How much of the budget is in use for this.
    reserved: u64,
    budget: Arc<Budget>,
}

#[derive(Debug)]
enum State {
    Open,
    /// All of it has come.
    Ended(Option<HeaderMap>),
    /// Nobody reads it: what comes is passed over.
    Stopped,
}

impl Receiver {
    /// A body whose first bytes came inline, and for which credit up to the offset `granted` was given at once.
    pub(in crate::exchange) fn new(config: &FlowConfig, inline: Bytes, granted: u64) -> Self {
        let first = inline.len() as u64;
        let reserved = granted.saturating_sub(first);
        config.budget.force(reserved);
        let mut queue = Pieces::default();
        queue.push(inline);
        Self {
            last: 0,
            received: first,
            taken: 0,
            inline: first,
            granted,
            size: granted,
            taken_then: 0,
            since: 0,
            queue,
            state: State::Open,
            asked: false,
            starved: false,
            window: config.window,
            reserved,
            budget: config.budget.clone(),
        }
    }

    /// Takes a part of the body; false if it is known already.
    pub(in crate::exchange) fn data(&mut self, data: Data) -> Result<bool, ResetCode> {
        if data.sequence <= self.last {
            return Ok(false);
        }
        if matches!(self.state, State::Ended(_)) {
            return Err(ResetCode::Flow);
        }
        if data.sequence > self.last + 1 {
            return Err(ResetCode::Gap);
        }
        let end = self.received.saturating_add(data.body.len() as u64);
        if !data.body.is_empty() && end > self.granted {
            return Err(ResetCode::Flow);
        }
        self.last = data.sequence;
        self.received = end;
        self.since = self.since.saturating_add(1);
        if !matches!(self.state, State::Stopped) {
            self.queue.push(data.body);
        }
        if data.end {
            self.state = State::Ended(data.trailers);
        }
        self.settle();
        Ok(true)
    }

    /// The other side has sent so many DATA; what it sent before this has come, or is lost.
    pub(in crate::exchange) fn check(&self, sent: u64) -> Result<(), ResetCode> {
        if sent > self.last { Err(ResetCode::Gap) } else { Ok(()) }
    }

    /// The next part of the body.
    pub(in crate::exchange) fn read(&mut self) -> Poll<Option<Frame<Bytes>>> {
        if let Some(data) = self.queue.pop() {
            self.taken += data.len() as u64;
            self.settle();
            return Poll::Ready(Some(Frame::data(data)));
        }
        match &mut self.state {
            State::Ended(trailers) => Poll::Ready(trailers.take().map(Frame::trailers)),
            State::Stopped => Poll::Ready(None),
            State::Open => {
                self.asked = true;
                Poll::Pending
            }
        }
    }

    /// The reader wants all of it.
    pub(in crate::exchange) const fn ask(&mut self) {
        self.asked = true;
    }

    /// Nobody reads it any more. True if the other side is to be told.
    pub(in crate::exchange) fn stop(&mut self) -> bool {
        let tell = matches!(self.state, State::Open) && self.asked;
        if matches!(self.state, State::Open) {
            self.state = State::Stopped;
        }
        self.queue = Pieces::default();
        self.taken = self.received;
        self.settle();
        tell
    }

    /// The offset of new credit, if it is time for some.
    pub(in crate::exchange) fn poll_grant(&mut self) -> Option<u64> {
        if !self.asked || self.starved || !matches!(self.state, State::Open) {
            return None;
        }
        let left = self.granted.saturating_sub(self.taken);
        let urgent = left == 0 || (self.since >= CROWD && self.taken > self.taken_then);
        if !urgent && left > self.size / 2 {
            return None;
        }
        let from = self.granted.max(self.inline);
        let wanted = (self.taken + self.window).saturating_sub(from);
        if wanted == 0 {
            return None;
        }
        let given = self.budget.take(wanted, urgent);
        if given == 0 {
            self.starved = urgent;
            return None;
        }
        self.reserved += given;
        self.granted = from + given;
        self.size = self.granted - self.taken;
        self.taken_then = self.taken;
        self.since = 0;
        Some(self.granted)
    }

    /// Whether credit is needed and the budget had none.
    pub(in crate::exchange) const fn is_starved(&self) -> bool {
        self.starved && matches!(self.state, State::Open)
    }

    /// It is time to try the budget again.
    pub(in crate::exchange) const fn retry(&mut self) {
        self.starved = false;
    }

    /// The offset that was granted last.
    pub(in crate::exchange) const fn granted(&self) -> u64 {
        self.granted
    }

    /// Whether the other side may send, and has not come to an end.
    pub(in crate::exchange) const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Open) && self.granted > self.received
    }

    /// Whether all of it has come.
    pub(in crate::exchange) const fn is_complete(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Whether nobody reads it.
    pub(in crate::exchange) const fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// How many bytes wait to be read.
    pub(in crate::exchange) const fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Gives back what of the budget is not needed any more.
    fn settle(&mut self) {
        let bound = match self.state {
            State::Open => self.granted,
            State::Ended(_) | State::Stopped => self.received,
        };
        let needed = bound.saturating_sub(self.taken.max(self.inline));
        if let surplus @ 1.. = self.reserved.saturating_sub(needed) {
            self.reserved -= surplus;
            self.budget.give_back(surplus);
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.budget.give_back(self.reserved);
    }
}

#[cfg(test)]
mod tests;
