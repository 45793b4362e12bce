use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::tokens::Inbox;
use super::{Mail, Mailbox, Registration, ReplyPolicy};
use crate::outgoing::Outgoing;
use crate::{Link, PublishError};
use narun_core::Limits;
use narun_core::exchange::Connection;
use narun_core::frame::{Frame, Reset, ResetCode, encode_probe};

/// How many strangers a second are told that their exchange is gone.
const GONE_PER_SECOND: u64 = 1000;

/// A link with an inbox: one end of many exchanges.
pub struct Endpoint<L: Link> {
    link: L,
    inbox: Arc<Inbox<L::Address>>,
    replies: ReplyPolicy,
    limits: Limits,
    /// The second that is counted, and how many strangers were told in it.
    gone: (AtomicU64, AtomicU64),
    observe: Box<dyn Fn(Notice) + Send + Sync>,
}

/// Something came to the inbox that belongs to no exchange, or could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// No frame.
    Junk,
    /// A frame for an exchange that is not, or no more, known.
    Unknown,
    /// It named a reply subject that is not answered.
    ForeignReply,
    /// The exchange had too many messages waiting.
    Overflow,
}

impl<L: Link> Endpoint<L> {
    /// An endpoint whose inbox lies below `prefix`; `observe` is told of what does not fit.
    pub fn new(
        link: L,
        prefix: &str,
        replies: ReplyPolicy,
        limits: Limits,
        observe: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Self {
        let gone = (AtomicU64::new(0), AtomicU64::new(0));
        Self { link, inbox: Arc::new(Inbox::new(prefix)), replies, limits, gone, observe: Box::new(observe) }
    }

    /// The link.
    pub const fn link(&self) -> &L {
        &self.link
    }

    /// Limits on what peers send.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Which reply subjects are answered.
    pub const fn replies(&self) -> &ReplyPolicy {
        &self.replies
    }

    /// The subject of the inbox, to subscribe to.
    pub fn subject(&self) -> String {
        self.inbox.subject()
    }

    /// How many tokens are open.
    pub fn open_tokens(&self) -> usize {
        self.inbox.len()
    }

    /// A mailbox for a new exchange, no token opened yet.
    pub fn register(&self) -> Registration<L::Address> {
        Registration::new(self.inbox.clone(), Arc::new(Mailbox::new(self.link.epoch())))
    }

    /// Takes in a message that came to the inbox.
    pub fn deliver(&self, subject: &str, payload: Bytes, reply: Option<L::Address>) {
        let reply = reply.filter(|reply| {
            let allowed = self.replies.allows(reply.as_ref());
            if !allowed {
                self.notice(Notice::ForeignReply);
            }
            allowed
        });
        match self.inbox.find(subject) {
            Some((mailbox, attempt)) => {
                if !mailbox.put(Mail::Frame { attempt, payload, reply }) {
                    self.notice(Notice::Overflow);
                }
            }
            None => self.unknown(&payload, reply),
        }
    }

    /// Takes in a "no responders" that came to the inbox.
    pub fn deliver_no_responders(&self, subject: &str) {
        if let Some((mailbox, attempt)) = self.inbox.find(subject)
            && !mailbox.put(Mail::NoResponders { attempt })
        {
            self.notice(Notice::Overflow);
        }
    }

    /// Tells all exchanges that began before `epoch` what became of the connection.
    pub fn deliver_connection(&self, connection: Connection, epoch: u64) {
        for mailbox in self.inbox.mailboxes() {
            if mailbox.is_older_than(epoch) && !mailbox.put(Mail::Connection(connection)) {
                self.notice(Notice::Overflow);
            }
        }
    }

    /// Publishes without waiting; what cannot be sent at once is not sent.
    pub fn publish_or_drop(
        &self,
        to: L::Address,
        reply: Option<L::Address>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.link.try_publish(to, reply, None, payload)
    }

    /// Sends a message to the own inbox and waits for it: the server has all that was published before.
    ///
    /// Waits as long as there is no connection. Cancel safe.
    pub async fn round_trip(&self) -> Result<(), PublishError> {
        let mut registration = self.register();
        let to = L::address(registration.reply(0));
        let mut outgoing = Outgoing::default();
        outgoing.send(&self.link, to, None, encode_probe())?;
        poll_fn(|cx| outgoing.poll_ready(cx)).await?;
        poll_fn(|cx| registration.mailbox().poll_take(cx)).await;
        Ok(())
    }

    /// Reports something worth counting.
    pub fn notice(&self, notice: Notice) {
        (self.observe)(notice);
    }

    fn unknown(&self, payload: &Bytes, reply: Option<L::Address>) {
        match Frame::decode(payload, &self.limits) {
            Err(_) => self.notice(Notice::Junk),
            Ok(frame) => {
                self.notice(Notice::Unknown);
                if let Some(reply) = reply
                    && !matches!(frame, Frame::Reset(_))
                    && self.may_tell_gone()
                {
                    let gone = Reset { code: ResetCode::Gone, text: String::new(), ran: true };
                    // Should it not get out, the stranger's next PROBE asks again.
                    let _ = self.publish_or_drop(reply, None, gone.encode());
                }
            }
        }
    }

    /// Whether this second's allowance is not used up yet.
    fn may_tell_gone(&self) -> bool {
        let (second, count) = &self.gone;
        let now = Duration::as_secs(&self.link.now().since_origin());
        if second.swap(now, Ordering::Relaxed) != now {
            count.store(0, Ordering::Relaxed);
        }
        count.fetch_add(1, Ordering::Relaxed) < GONE_PER_SECOND
    }
}

impl<L: Link> fmt::Debug for Endpoint<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("open_tokens", &self.open_tokens()).finish_non_exhaustive()
    }
}
