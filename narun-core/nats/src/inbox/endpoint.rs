use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use futures::FutureExt;
use narun_core::exchange::ConnectionChange;
use narun_core::frame::{Frame, Reset, ResetCode, encode_probe};
use narun_core::{Limits, Time};

use super::denials::Denials;
use super::tokens::Inbox;
use super::{Mail, Mailbox, Registration, ReplyPolicy};
use crate::clock::{Clock, Timer};
use crate::link::{Link, Outgoing, OutgoingMessage, PublishError};
use crate::permissions::{Denied, Permission};

/// How long to wait for a message of a round trip before it is sent again: a lost connection takes it along.
const ECHO: Duration = Duration::from_secs(1);

/// The pause between two checks for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// How many RESET(gone) are sent in a second at most.
const GONE_PER_SECOND: u64 = 1000;

/// A NATS client with an inbox: one end of many exchanges.
pub struct Endpoint {
    link: Box<dyn Link>,
    clock: Clock,
    inbox: Arc<Inbox>,
    replies: ReplyPolicy,
    limits: Limits,
    /// The current second, and how many RESET(gone) were sent in it.
    gone: (AtomicU64, AtomicU64),
    /// The last epoch of which exchanges were notified, and when that was: nanoseconds of the clock, 0 if never.
    restored: (AtomicU64, AtomicU64),
    denials: Denials,
    observe: Box<dyn Fn(Notice) + Send + Sync>,
}

/// A message arrived in the inbox that was dropped, in whole or in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// It is no valid frame.
    Junk,
    /// Its exchange is unknown, or has ended.
    Unknown,
    /// It names a reply subject to which nothing is published.
    ForeignReply,
    /// The mailbox of its exchange is full.
    Overflow,
}

impl Endpoint {
    /// An endpoint with an inbox below `prefix`. `observe` is called for every message that is dropped.
    pub fn new(
        link: impl Link,
        prefix: &str,
        replies: ReplyPolicy,
        limits: Limits,
        observe: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Self {
        let gone = (AtomicU64::new(0), AtomicU64::new(0));
        let restored = (AtomicU64::new(link.epoch()), AtomicU64::new(0));
        Self {
            link: Box::new(link),
            clock: Clock::start(),
            inbox: Arc::new(Inbox::new(prefix)),
            replies,
            limits,
            gone,
            restored,
            denials: Denials::default(),
            observe: Box::new(observe),
        }
    }

    /// The link over which messages are published.
    pub fn link(&self) -> &dyn Link {
        &*self.link
    }

    /// Returns whether the client is connected.
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    /// How many connections the client has made. The number changes with every reconnect.
    pub fn epoch(&self) -> u64 {
        self.link.epoch()
    }

    /// When the connection was last restored. `None` if it was never lost.
    pub fn restored_at(&self) -> Option<Time> {
        let (epoch, at) = &self.restored;
        if epoch.load(Ordering::Relaxed) != self.epoch() {
            return Some(self.now());
        }
        match at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Time::new(Duration::from_nanos(at))),
        }
    }

    /// The largest payload that the server accepts now, in bytes.
    pub fn max_payload(&self) -> usize {
        self.link.max_payload()
    }

    /// The largest frame of an exchange that can be sent now, in bytes.
    pub fn max_frame(&self) -> usize {
        self.limits.frame.min(self.max_payload())
    }

    /// The time now, as the machines of exchanges count it.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// A timer of the same time.
    pub const fn timer(&self) -> Timer {
        self.clock.timer()
    }

    /// The limits for frames from peers.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The subjects to which messages are published that name them as reply.
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

    /// A mailbox for a new exchange. No token is open yet.
    pub fn register(&self) -> Registration {
        Registration::new(self.inbox.clone(), Arc::new(Mailbox::new(self.epoch())))
    }

    /// Delivers a message that arrived in the inbox.
    pub fn deliver(&self, subject: &str, payload: Bytes, reply: Option<Subject>) {
        let reply = reply.filter(|reply| {
            let allowed = self.replies.allows(reply.as_ref());
            if !allowed {
                self.notice(Notice::ForeignReply);
            }
            allowed
        });
        match self.inbox.find(subject) {
            Some((mailbox, token)) => {
                if !mailbox.put(Mail::Frame { token, payload, reply }) {
                    self.notice(Notice::Overflow);
                }
            }
            None => self.unknown(&payload, reply),
        }
    }

    /// Delivers a "no responders" status that arrived in the inbox.
    pub fn deliver_no_responders(&self, subject: &str) {
        if let Some((mailbox, token)) = self.inbox.find(subject)
            && !mailbox.put(Mail::NoResponders { token })
        {
            self.notice(Notice::Overflow);
        }
    }

    /// Notifies all exchanges that began before `epoch` of a change of the connection.
    pub fn deliver_connection(&self, change: ConnectionChange, epoch: u64) {
        if change == ConnectionChange::Restored {
            let now = u64::try_from(self.now().since_origin().as_nanos()).unwrap_or(u64::MAX);
            self.restored.1.store(now.max(1), Ordering::Relaxed);
            self.restored.0.store(self.epoch(), Ordering::Relaxed);
        }
        for mailbox in self.inbox.mailboxes() {
            if mailbox.is_older_than(epoch) && !mailbox.put(Mail::Connection(change)) {
                self.notice(Notice::Overflow);
            }
        }
    }

    /// Notifies all exchanges that the server has dropped a message to this subject. For a second, [`Endpoint::is_denied`]
    /// returns true.
    pub(crate) fn deliver_denied(&self, subject: &str) {
        // The subjects of inboxes are used once, so it is no use to remember them.
        let is_inbox = self.replies.allows(subject);
        if !self.denials.note(self.now(), (!is_inbox).then_some(subject)) {
            return;
        }
        for mailbox in self.inbox.mailboxes() {
            if !mailbox.put(Mail::Denied(subject.into())) {
                self.notice(Notice::Overflow);
            }
        }
    }

    /// Returns whether the server has just dropped a message to this subject for want of a permission.
    pub fn is_denied(&self, subject: &str) -> bool {
        self.denials.is_denied(self.now(), subject)
    }

    /// Waits until a message has come back through the inbox: the server has all subscriptions made before.
    ///
    /// The message goes to the own inbox. With `absent`, a subject to which nobody subscribes, it goes there first: the
    /// server responds "no responders", and the user needs no permission to publish to the own inbox. Without a connection
    /// this waits for one, and `limit` counts anew. The message is sent again each second, and any of them counts: a round trip
    /// may take as long as `limit`. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Denied`] if nothing came back within `limit`: the user probably lacks the permission to subscribe to the inbox.
    pub async fn subscribed(&self, limit: Duration, absent: Option<Subject>) -> Result<(), Denied> {
        let mut own = self.register();
        let mut began = self.now();
        let mut to = absent;
        loop {
            if !self.is_connected() {
                tokio::time::sleep(PAUSE).await;
                began = self.now();
                continue;
            }
            // An error is that of a dead client, which the task that reads from it notices, or a missing permission to
            // publish to the own inbox: by then, the server has accepted the subscription.
            if tokio::time::timeout(ECHO.min(limit), self.echo(&mut own, to.take())).await.is_ok() {
                return Ok(());
            }
            if self.now() - began >= limit {
                return Err(Denied::new(Permission::Subscribe, self.subject()));
            }
        }
    }

    /// Returns whether the server says that nothing subscribes to this subject: not even this client, which has subscribed
    /// to it before, so that the server must have denied that.
    ///
    /// It publishes a PROBE there. Returns false if the server does not respond to it within `limit`: another client has
    /// received it, the user may not publish there, or the connection was lost. Cancel safe.
    pub async fn is_absent(&self, subject: Subject, limit: Duration) -> bool {
        let mut own = self.register();
        let reply = Some(own.reply(0).into());
        let probe = OutgoingMessage { to: subject, reply, headers: None, payload: encode_probe() };
        if self.link.try_publish(&probe).is_err() {
            return false;
        }
        // The server responds to it before this comes back.
        if !matches!(tokio::time::timeout(limit, self.round_trip()).await, Ok(Ok(()))) {
            return false;
        }
        let mut next = || poll_fn(|cx| own.mailbox().poll_take(cx)).now_or_never();
        std::iter::from_fn(&mut next).any(|mail| matches!(mail, Mail::NoResponders { .. }))
    }

    /// Publishes a message that has no reply, or drops it if the client's queue is full.
    pub fn publish_or_drop(&self, to: Subject, payload: Bytes) {
        // A peer that misses it sends a PROBE.
        let _ = self.link.try_publish(&OutgoingMessage { to, reply: None, headers: None, payload });
    }

    /// Waits until the server has received everything that was published before.
    ///
    /// It sends a message to the own inbox and waits for it, without a limit while there is no connection. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`PublishError::Closed`] if the client is dead, [`PublishError::Denied`] if the user may not publish to its own inbox.
    pub async fn round_trip(&self) -> Result<(), PublishError> {
        self.echo(&mut self.register(), None).await
    }

    /// Sends a PROBE to this token of the own inbox, or to `absent`, and waits until something arrives there.
    async fn echo(
        &self,
        registration: &mut Registration,
        absent: Option<Subject>,
    ) -> Result<(), PublishError> {
        let own = Subject::from(registration.reply(0));
        let (to, reply) = match absent {
            Some(absent) => (absent, Some(own.clone())),
            None => (own.clone(), None),
        };
        let mut outgoing = Outgoing::default();
        let message = OutgoingMessage { to: to.clone(), reply, headers: None, payload: encode_probe() };
        outgoing.send(&*self.link, message)?;
        poll_fn(|cx| outgoing.poll_ready(cx)).await?;
        loop {
            match poll_fn(|cx| registration.mailbox().poll_take(cx)).await {
                Mail::Frame { .. } | Mail::NoResponders { .. } => return Ok(()),
                Mail::Denied(subject) if subject == own => return Err(PublishError::Denied),
                Mail::Denied(_) | Mail::Connection(_) => {}
            }
        }
    }

    /// Calls the observer.
    pub fn notice(&self, notice: Notice) {
        (self.observe)(notice);
    }

    fn unknown(&self, payload: &Bytes, reply: Option<Subject>) {
        match Frame::decode(payload, &self.limits.stored()) {
            Err(_) => self.notice(Notice::Junk),
            Ok(frame) => {
                self.notice(Notice::Unknown);
                if let Some(reply) = reply
                    && !matches!(frame, Frame::Reset(_))
                    && self.may_tell_gone()
                {
                    let gone = Reset { code: ResetCode::Gone, text: String::new(), ran: true };
                    self.publish_or_drop(reply, gone.encode());
                }
            }
        }
    }

    /// Returns whether another RESET(gone) may be sent in this second.
    fn may_tell_gone(&self) -> bool {
        let (second, count) = &self.gone;
        let now = Duration::as_secs(&self.now().since_origin());
        if second.swap(now, Ordering::Relaxed) != now {
            count.store(0, Ordering::Relaxed);
        }
        count.fetch_add(1, Ordering::Relaxed) < GONE_PER_SECOND
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("open_tokens", &self.open_tokens()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
