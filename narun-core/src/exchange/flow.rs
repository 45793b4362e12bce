//! Bodies that do not fit the frame of their head.
//!
//! Each direction has a [`Sender`] at one end and a [`Receiver`] at the other, for requests and responses alike. A sender
//! takes bytes from the application only while it has credit for them, so the application waits. A receiver queues the
//! bytes that have arrived until they are read, never more than it has granted, and grants more as they are read. A
//! [`Flow`] holds both. A [`Caller`](super::Caller) or [`Callee`](super::Callee) allocates it when a body is longer than
//! its first frame; exchanges of one frame each way have no flow.
//!
//! The receiver notices a loss by the number of the next DATA, or by CREDIT, which states how many DATA its sender has
//! sent. A side that waits sends PROBE, so that a frame does arrive: the CREDIT in response also repeats the offset that a
//! lost ACCEPT or CREDIT had granted.

mod bounces;
mod budget;
mod pieces;
mod receiver;
mod sender;
mod watch;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;

use crate::BodyErrorKind;
use crate::frame::{Credit, Data, ResetCode};

pub(super) use bounces::Bounces;
pub use budget::Budget;
pub(super) use receiver::Receiver;
pub(super) use sender::Sender;
pub(super) use watch::Watch;

/// Interval at which a body without credit retries a budget that is used up.
pub(super) const RETRY: Duration = Duration::from_millis(50);

/// Settings of streamed bodies.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FlowConfig {
    /// Bytes of one body that may be on the way or queued for the reader. Default 1 MiB; less than 64 KiB is slow.
    pub window: u64,
    /// Largest DATA frame that is sent, in bytes. Default 65,536.
    pub frame: usize,
    /// Time without any frame after which the other side counts as gone. Default 30 s.
    pub idle: Duration,
    /// The credit that all exchanges of a connection share. Default: a budget of 48 MiB that is not shared.
    pub budget: Arc<Budget>,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            window: 1024 * 1024,
            frame: 64 * 1024,
            idle: Duration::from_secs(30),
            budget: Arc::new(Budget::default()),
        }
    }
}

/// The bodies of an exchange that do not fit one frame.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) sender: Option<Sender>,
    pub(super) receiver: Option<Receiver>,
    /// Why the received body ended too early.
    broken: Option<BodyErrorKind>,
}

impl Flow {
    pub(super) fn wants_data(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::wants_data)
    }

    /// Holds back a part that does not fill a frame, because more of the sent body may be available at once.
    pub(super) const fn cork(&mut self) {
        if let Some(sender) = &mut self.sender {
            sender.cork();
        }
    }

    /// Ends the effect of [`Flow::cork`]. Returns whether something was held back.
    pub(super) fn uncork(&mut self) -> bool {
        self.sender.as_mut().is_some_and(Sender::uncork)
    }

    /// Returns whether DATA was sent.
    pub(super) fn has_sent(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.last() > 0)
    }

    /// Returns whether no more of the sent body follows.
    pub(super) fn is_sent(&self) -> bool {
        self.sender.as_ref().is_none_or(Sender::is_over)
    }

    /// Returns whether a body makes no progress until the other side sends a frame.
    pub(super) fn is_waiting(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::is_stalled)
            || self.receiver.as_ref().is_some_and(Receiver::is_waiting)
    }

    /// Queues a part of the received body. Returns false if it was received before.
    pub(super) fn data(&mut self, data: Data) -> Result<bool, ResetCode> {
        self.receiver.as_mut().ok_or(ResetCode::Gap)?.data(data)
    }

    /// Applies credit. Returns whether it lets the sent body make progress.
    pub(super) fn credit(&mut self, credit: &Credit) -> Result<bool, ResetCode> {
        match &self.receiver {
            Some(receiver) => receiver.check(credit.sent)?,
            None if credit.sent > 0 => return Err(ResetCode::Gap),
            None => {}
        }
        let Some(sender) = &mut self.sender else { return Ok(false) };
        if credit.stop {
            sender.stop();
        }
        Ok(sender.credit(credit.offset) || credit.stop)
    }

    /// Returns the CREDIT that responds to a PROBE.
    pub(super) fn standing(&self) -> Credit {
        let receiver = self.receiver.as_ref();
        Credit {
            offset: receiver.map_or(0, Receiver::granted),
            stop: receiver.is_some_and(Receiver::is_stopped),
            sent: self.sender.as_ref().map_or(0, Sender::last),
        }
    }

    /// Returns the offset of new credit for the other side, or `None` if none is due.
    pub(super) fn poll_grant(&mut self) -> Option<u64> {
        self.receiver.as_mut()?.poll_grant()
    }

    /// Returns the next DATA, encoded.
    pub(super) fn poll_data(&mut self) -> Option<Bytes> {
        self.sender.as_mut()?.poll()
    }

    /// Returns the next part of the received body.
    pub(super) fn read(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyErrorKind>>> {
        match (&mut self.receiver, self.broken) {
            (_, Some(kind)) => Poll::Ready(Some(Err(kind))),
            (Some(receiver), None) => receiver.read().map(|frame| frame.map(Ok)),
            (None, None) => Poll::Ready(None),
        }
    }

    /// Ends both bodies with the exchange: no more is sent, and a received body that is not complete is broken off.
    pub(super) fn close(&mut self, why: BodyErrorKind) {
        self.sender = None;
        if self.receiver.as_ref().is_some_and(|receiver| !receiver.is_complete()) {
            self.receiver = None;
            self.broken.get_or_insert(why);
        }
    }

    pub(super) fn is_starved(&self) -> bool {
        self.receiver.as_ref().is_some_and(Receiver::is_starved)
    }

    /// Lets the received body try the budget again.
    pub(super) fn retry(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.retry();
        }
    }

    /// Returns how many bytes are queued for the reader.
    pub(super) fn queued(&self) -> usize {
        self.receiver.as_ref().map_or(0, Receiver::queued)
    }
}

#[cfg(test)]
mod tests;
