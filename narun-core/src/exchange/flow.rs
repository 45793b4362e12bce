//! Bodies that do not fit the frame of their head.
//!
//! Each direction is a [`Sender`] at one end and a [`Receiver`] at the other, the same for requests and responses. A
//! sender takes bytes from the application only while it has credit for them, and so makes the application wait; a
//! receiver keeps what has come until it is read, never more than it has granted, and grants more as it is read. Both are
//! held by a [`Flow`], which a [`Caller`](super::Caller) or [`Callee`](super::Callee) makes when a body turns out to be
//! longer than its first frame. Exchanges of one frame each way never have one.
//!
//! What is lost is noticed by the next DATA, whose number is not the next one, or by CREDIT, which says how many DATA its
//! sender has sent. So that something does come, whoever waits asks by PROBE, and gets CREDIT: it brings also what
//! an ACCEPT or CREDIT that was lost had granted.

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

pub use budget::Budget;
pub(super) use receiver::Receiver;
pub(super) use sender::Sender;
pub(super) use watch::Watch;

/// How often a body that has no credit tries the budget, when that is used up.
pub(super) const RETRY: Duration = Duration::from_millis(50);

/// Settings of bodies that are streamed.
#[derive(Clone, Debug)]
pub struct FlowConfig {
    /// How many bytes may be under way or wait to be read, for each body. Default 1 MiB; less than 64 KiB is slow.
    pub window: u64,
    /// The largest frame that is sent. Default 65,536 bytes.
    pub frame: usize,
    /// After how long without a frame the other side is taken for gone. Default 30 s.
    pub idle: Duration,
    /// What all exchanges of a connection may have granted. Default one of its own, of 48 MiB.
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

/// The bodies of an exchange, as far as they do not fit one frame.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) sender: Option<Sender>,
    pub(super) receiver: Option<Receiver>,
    /// Why the body that is received does not come to its end.
    broken: Option<BodyErrorKind>,
}

impl Flow {
    pub(super) fn wants_data(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::wants_data)
    }

    /// More of the own body may be there at once.
    pub(super) const fn cork(&mut self) {
        if let Some(sender) = &mut self.sender {
            sender.cork();
        }
    }

    /// Nothing more of it is there for now. True if something has waited for more.
    pub(super) fn uncork(&mut self) -> bool {
        self.sender.as_mut().is_some_and(Sender::uncork)
    }

    /// Whether nothing more of the own body will be sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sender.as_ref().is_none_or(Sender::is_over)
    }

    /// Whether nothing goes on before the other side has sent something.
    pub(super) fn is_waiting(&self) -> bool {
        self.sender.as_ref().is_some_and(Sender::is_stalled)
            || self.receiver.as_ref().is_some_and(Receiver::is_waiting)
    }

    /// Takes a part of the other side's body; true if it is new.
    pub(super) fn data(&mut self, data: Data) -> Result<bool, ResetCode> {
        self.receiver.as_mut().ok_or(ResetCode::Gap)?.data(data)
    }

    /// Takes credit; true if it moves the own body on.
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

    /// What a PROBE is answered with.
    pub(super) fn standing(&self) -> Credit {
        let receiver = self.receiver.as_ref();
        Credit {
            offset: receiver.map_or(0, Receiver::granted),
            stop: receiver.is_some_and(Receiver::is_stopped),
            sent: self.sender.as_ref().map_or(0, Sender::last),
        }
    }

    /// The offset of new credit for the other side, if it is time for some.
    pub(super) fn poll_grant(&mut self) -> Option<u64> {
        self.receiver.as_mut()?.poll_grant()
    }

    /// The next DATA.
    pub(super) fn poll_data(&mut self) -> Option<Bytes> {
        self.sender.as_mut()?.poll()
    }

    /// The next part of the other side's body.
    pub(super) fn read(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyErrorKind>>> {
        match (&mut self.receiver, self.broken) {
            (_, Some(kind)) => Poll::Ready(Some(Err(kind))),
            (Some(receiver), None) => receiver.read().map(|frame| frame.map(Ok)),
            (None, None) => Poll::Ready(None),
        }
    }

    /// The exchange is over: nothing more is sent, and a body that has not come to its end never will.
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

    /// It is time to try the budget again.
    pub(super) fn retry(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.retry();
        }
    }

    /// How many bytes wait to be read.
    pub(super) fn queued(&self) -> usize {
        self.receiver.as_ref().map_or(0, Receiver::queued)
    }
}

#[cfg(test)]
mod tests;
