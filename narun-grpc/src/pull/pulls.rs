//! Pulls of a consumer, one after the other, while the client reads.
//!
//! Messages wait in the inbox, and the next pull starts once all of them were read. So a slow client holds back its own
//! messages only, and the messages that wait are bounded by the size of a pull.

use std::time::Duration;

use async_nats::Message;
use narun_nats::jetstream::{Backoff, retry};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use crate::Connection;
use crate::connection::{Due, Mark};
use crate::pull::single::{Pull, PullStatus, refusal};
use crate::state::ServiceState;
use crate::status;

/// How often to check that the connection is still the one of the pull.
const LOOK: Duration = Duration::from_secs(1);

/// How long a pull lasts, and how often the server sends a heartbeat, in nanoseconds.
const EXPIRES: u64 = 60_000_000_000;
const HEARTBEAT: u64 = 5_000_000_000;

/// A pull without a message or heartbeat for this long is lost.
const SILENCE: Duration = Duration::from_secs(12);

/// The pause before a retry, and how long an attempt may take: a cluster without a leader does not respond.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPT: Duration = Duration::from_secs(5);

/// The least bytes of a pull. JetStream takes 0 for no limit.
const LEAST_BYTES: usize = 1 << 10;

/// The size of a pull.
#[derive(Clone, Copy)]
pub(crate) struct PullLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// The limit of a single message that is larger than `bytes`.
    pub(crate) largest: usize,
}

impl PullLimits {
    /// The limits of the service on this connection, with at most this many messages.
    pub(crate) fn of(state: &ServiceState, connection: &Connection, messages: usize) -> Self {
        let (queue, largest) = (state.queue, state.response_limit);
        let messages = messages.min(queue.messages).max(1);
        let bytes = queue.bytes.max(LEAST_BYTES);
        // A pull of more than the largest message must not bring a larger one.
        let each_fits = connection.client().max_payload() < largest;
        Self { messages, bytes: if each_fits { bytes } else { bytes.min(largest) }, largest }
    }
}

/// The pulls of a consumer.
pub(crate) struct Pulls {
    pull: Pull,
    limits: PullLimits,
    /// How many more messages may be pulled.
    allowed: usize,
    /// Whether a pull waits for new messages. If not, it ends when the consumer has no more.
    pub(crate) wait: bool,
    /// The connection of the current pull.
    mark: Mark,
    /// Messages of the current pull: received, and still to come.
    brought: usize,
    left: usize,
    /// Whether the next message has to be pulled by itself, as it is too large.
    single: bool,
    heard: Instant,
}

/// The next event of the pulls.
pub(crate) enum Pulled {
    Message(Message),
    /// The consumer has no more messages at the moment.
    Nothing,
    /// The pull is lost, and perhaps the consumer or the connection.
    Lost,
}

impl Pulls {
    pub(crate) async fn open(
        connection: &Connection,
        limits: PullLimits,
        stream: &str,
        consumer: &str,
    ) -> Result<Self, Status> {
        let mark = connection.mark()?;
        Ok(Self {
            pull: Pull::open(connection, limits.bytes, stream, consumer).await?,
            limits,
            allowed: usize::MAX,
            wait: true,
            mark,
            brought: 0,
            left: 0,
            single: false,
            heard: Instant::now(),
        })
    }

    /// Whether the next event needs another pull.
    pub(crate) const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Sets how many messages may be pulled from now on, at least 1.
    pub(crate) const fn allow(&mut self, messages: usize) {
        self.allowed = messages;
    }

    /// Lets no message be given back that has waited this long for the client: it is redelivered then.
    pub(crate) const fn redelivered_after(&mut self, ack_wait: Duration) {
        self.pull.ack_wait = Some(ack_wait);
    }

    /// When the last message arrived.
    pub(crate) fn arrived(&self) -> Instant {
        self.pull.inbox.as_ref().map_or_else(Instant::now, |inbox| inbox.arrived)
    }

    /// Waits for the next event. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Pulled, Status> {
        loop {
            if self.left == 0 {
                match self.pull.connection.mark() {
                    Ok(mark) => self.ask(mark).await?,
                    Err(_) => return Ok(Pulled::Lost),
                }
            }
            let next = async { self.pull.inbox.as_mut()?.next().await };
            match timeout(LOOK, next).await {
                Ok(Some(message)) => {
                    self.heard = Instant::now();
                    if let Some(pulled) = self.take(message)? {
                        return Ok(pulled);
                    }
                }
                Ok(None) => return Err(status::disconnected()),
                Err(_) => {
                    let is_same = self.pull.connection.mark().is_ok_and(|mark| mark == self.mark);
                    if !is_same || self.heard.elapsed() > SILENCE {
                        return Ok(Pulled::Lost);
                    }
                }
            }
        }
    }

    async fn ask(&mut self, mark: Mark) -> Result<(), Status> {
        let PullLimits { messages, bytes, largest } = self.limits;
        let messages = messages.min(self.allowed).max(1);
        let (batch, room) = if self.single { (1, largest) } else { (messages, bytes) };
        let patience = match self.wait {
            true => format!("\"expires\":{EXPIRES},\"idle_heartbeat\":{HEARTBEAT}"),
            false => "\"no_wait\":true".to_owned(),
        };
        self.pull.room = room;
        (self.mark, self.heard) = (mark, Instant::now());
        (self.brought, self.left) = (0, batch);
        self.pull.ask(self.due(), batch, &patience).await
    }

    /// The messages that may still come, which are given back when the pulls are dropped.
    const fn due(&self) -> Due {
        match (self.left, self.wait) {
            (0, _) => Due::Nothing,
            (left, true) => Due::Waiting(left),
            (left, false) => Due::AtOnce(left),
        }
    }

    fn take(&mut self, message: Message) -> Result<Option<Pulled>, Status> {
        let Some(status) = PullStatus::of(&message) else {
            self.brought += 1;
            self.left = self.left.saturating_sub(1);
            self.allowed = self.allowed.saturating_sub(1);
            self.pull.due = self.due();
            self.single = false;
            return Ok(Some(Pulled::Message(message)));
        };
        if status != PullStatus::GoesOn {
            self.left = 0;
            self.pull.due = Due::Nothing;
        }
        match status {
            PullStatus::GoesOn => Ok(None),
            PullStatus::Ended => Ok(Some(Pulled::Nothing)),
            PullStatus::TooLarge if !self.single => {
                // It comes with the next pull, or by itself if it was the first of this one.
                self.single = self.brought == 0;
                Ok(None)
            }
            PullStatus::NoResponders | PullStatus::Lost => Ok(Some(Pulled::Lost)),
            PullStatus::TooLarge | PullStatus::Refused => Err(refusal(&message)),
        }
    }

    /// Drops the inbox without giving messages back, for a consumer without acknowledgements.
    pub(crate) fn discard(&mut self) {
        self.pull.inbox = None;
    }
}

/// Retries by the rule of [`retry`], with a pause before the first attempt too, until an attempt does not fail with
/// UNAVAILABLE or DEADLINE_EXCEEDED. The caller limits the time.
pub(crate) async fn retry_later<T, F>(attempt: impl Fn() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let is_temporary = |status: &Status| matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
    let attempt =
        || async { timeout(ATTEMPT, attempt()).await.unwrap_or_else(|_| Err(status::jetstream_late())) };
    sleep(PAUSE).await;
    retry(Backoff::new(PAUSE, PAUSE), None, is_temporary, attempt).await
}
