use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::pieces::Pieces;
use super::{Budget, FlowConfig};
use crate::frame::{Data, ResetCode};

/// Number of DATA after which credit is renewed although less than half of it was read: a sender of small DATA may send
/// only a few hundred without new credit.
const RENEW_AFTER: u32 = 64;

/// The receiving end of a body.
#[derive(Debug)]
pub(in crate::exchange) struct Receiver {
    /// Sequence number of the last DATA.
    last: u64,
    /// Offset up to which the body has arrived, and up to which it was read.
    received: u64,
    taken: u64,
    /// Offset up to which the body arrived inline, without credit.
    inline: u64,
    /// Offset up to which the body may be sent.
    granted: u64,
    /// Bytes that were granted and not read when credit was last granted, and the offset read by then.
    unused_at_grant: u64,
    taken_at_grant: u64,
    /// DATA since credit was last granted.
    data_since_grant: u32,
    queue: Pieces,
    state: State,
    /// Whether the reader wants more than the inline bytes.
    asked: bool,
    /// Whether credit was needed and the budget was used up.
    starved: bool,
    window: u64,
    /// Bytes of the budget that this body uses.
    reserved: u64,
    budget: Arc<Budget>,
}

#[derive(Debug)]
enum State {
    Open,
    /// The whole body has arrived.
    Ended(Option<HeaderMap>),
    /// The body is not read any more: further DATA is discarded.
    Stopped,
}

impl Receiver {
    /// Begins a body with the bytes that arrived inline. Credit up to the offset `granted` was granted already.
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
            unused_at_grant: granted,
            taken_at_grant: 0,
            data_since_grant: 0,
            queue,
            state: State::Open,
            asked: false,
            starved: false,
            window: config.window,
            reserved,
            budget: config.budget.clone(),
        }
    }

    /// Queues a part of the body. Returns false if it was received before.
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
        self.data_since_grant = self.data_since_grant.saturating_add(1);
        if !matches!(self.state, State::Stopped) {
            self.queue.push(data.body);
        }
        if data.end {
            self.state = State::Ended(data.trailers);
        }
        self.settle();
        Ok(true)
    }

    /// Returns an error if a DATA was lost. `sent` is the number of DATA that the other side sent before this statement.
    pub(in crate::exchange) fn check(&self, sent: u64) -> Result<(), ResetCode> {
        if sent > self.last { Err(ResetCode::Gap) } else { Ok(()) }
    }

    /// Returns the next part of the body, its trailers last. `Pending` if it has not arrived.
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

    /// Asks for the bytes after the inline ones.
    pub(in crate::exchange) const fn ask(&mut self) {
        self.asked = true;
    }

    /// Discards the rest of the body. Returns whether the other side may be sending it.
    pub(in crate::exchange) fn stop(&mut self) -> bool {
        let is_sending = matches!(self.state, State::Open) && self.asked;
        if matches!(self.state, State::Open) {
            self.state = State::Stopped;
        }
        self.queue = Pieces::default();
        self.taken = self.received;
        self.settle();
        is_sending
    }

    /// Returns the offset of new credit, or `None` if none is due or the budget is used up.
    pub(in crate::exchange) fn poll_grant(&mut self) -> Option<u64> {
        if !self.asked || self.starved || !matches!(self.state, State::Open) {
            return None;
        }
        let left = self.granted.saturating_sub(self.taken);
        let urgent = left == 0 || (self.data_since_grant >= RENEW_AFTER && self.taken > self.taken_at_grant);
        if !urgent && left > self.unused_at_grant / 2 {
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
        self.unused_at_grant = self.granted - self.taken;
        self.taken_at_grant = self.taken;
        self.data_since_grant = 0;
        Some(self.granted)
    }

    /// Returns whether credit is needed and the budget was used up.
    pub(in crate::exchange) const fn is_starved(&self) -> bool {
        self.starved && matches!(self.state, State::Open)
    }

    /// Lets [`Receiver::poll_grant`] try the budget again.
    pub(in crate::exchange) const fn retry(&mut self) {
        self.starved = false;
    }

    /// Returns the offset that was granted last.
    pub(in crate::exchange) const fn granted(&self) -> u64 {
        self.granted
    }

    /// Returns whether the other side has unused credit and has not ended the body.
    pub(in crate::exchange) const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Open) && self.granted > self.received
    }

    /// Returns whether the whole body has arrived.
    pub(in crate::exchange) const fn is_complete(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Returns whether the body is not read any more.
    pub(in crate::exchange) const fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Returns how many bytes are queued for the reader.
    pub(in crate::exchange) const fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Gives back the part of the budget that is not needed any more.
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
