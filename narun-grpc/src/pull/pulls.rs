//! Pulls of a consumer, one after the other, for as long as somebody reads what comes.
//!
//! What has come waits in the inbox. More is asked for once all of it was read, so that a reader who is slow holds back
//! those messages only that are its own, and what waits for it is bounded by what was asked for.

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

/// How often it is looked whether the connection is still the one that the pull went through.
const LOOK: Duration = Duration::from_secs(1);

/// How long a pull lasts, and how often the server says meanwhile that it is still there, in nanoseconds.
const EXPIRES: u64 = 60_000_000_000;
const HEARTBEAT: u64 = 5_000_000_000;

/// After so long without a sign of it, a pull is lost.
const SILENCE: Duration = Duration::from_secs(12);

/// Between two attempts to pull again, and how long one may take: a cluster without a leader does not answer.
const PAUSE: Duration = Duration::from_millis(500);
const ATTEMPT: Duration = Duration::from_secs(5);

/// Bytes that are taken at a time in any case; JetStream takes none for no limit.
const LEAST_BYTES: usize = 1 << 10;

/// How much a pull may bring.
#[derive(Clone, Copy)]
pub(crate) struct PullLimits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// What one message may have that is alone, should it have more than `bytes`.
    pub(crate) largest: usize,
}

impl PullLimits {
    /// How much is taken at a time of what a client reads.
    pub(crate) fn of(state: &ServiceState, messages: usize) -> Self {
        let (queue, largest) = (state.queue, state.message_limit);
        let messages = messages.min(queue.messages).max(1);
        Self { messages, bytes: queue.bytes.max(LEAST_BYTES).min(largest), largest }
    }
}

/// The pulls of one consumer.
pub(crate) struct Pulls {
    pull: Pull,
    limits: PullLimits,
    /// Whether the server waits for what is to come, or says that there is nothing.
    pub(crate) wait: bool,
    /// The connection that the pull went through.
    mark: Mark,
    /// How many messages it has brought, and may still bring.
    brought: usize,
    left: usize,
    /// Whether the next message was found to be too large to come with others.
    alone: bool,
    heard: Instant,
}

/// What a pull brings.
pub(crate) enum Pulled {
    Message(Message),
    /// That was all that there is.
    Nothing,
    /// There is no pull any more, and perhaps no consumer or no connection.
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
            wait: true,
            mark,
            brought: 0,
            left: 0,
            alone: false,
            heard: Instant::now(),
        })
    }

    /// What comes next.
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
        let (batch, room) = if self.alone { (1, largest) } else { (messages, bytes) };
        let patience = match self.wait {
            true => format!("\"expires\":{EXPIRES},\"idle_heartbeat\":{HEARTBEAT}"),
            false => "\"no_wait\":true".to_owned(),
        };
        self.pull.room = room;
        (self.mark, self.heard) = (mark, Instant::now());
        (self.brought, self.left) = (0, batch);
        self.pull.ask(self.due(), &format!("\"batch\":{batch},{patience}")).await
    }

    /// What may still come of the pull, which is given back when nobody reads it any more.
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
            self.pull.due = self.due();
            self.alone = false;
            return Ok(Some(Pulled::Message(message)));
        };
        if status != PullStatus::GoesOn {
            self.left = 0;
            self.pull.due = Due::Nothing;
        }
        match status {
            PullStatus::GoesOn => Ok(None),
            PullStatus::Ended => Ok(Some(Pulled::Nothing)),
            PullStatus::TooLarge if !self.alone => {
                // The next one comes with the next pull, or if it was the first, by itself.
                self.alone = self.brought == 0;
                Ok(None)
            }
            PullStatus::NoResponders | PullStatus::Lost => Ok(Some(Pulled::Lost)),
            PullStatus::TooLarge | PullStatus::Refused => Err(refusal(&message)),
        }
    }

    /// Lets what has come go, of a consumer that takes nothing back.
    pub(crate) fn discard(&mut self) {
        self.pull.inbox = None;
    }
}

/// Repeats an attempt while its error is temporary, by the rule of [`retry`]; the first one begins after a pause.
///
/// It has no limit but the caller's patience. An attempt that takes too long is given up, and repeated too.
pub(crate) async fn insist<T, F>(attempt: impl Fn() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let is_temporary = |status: &Status| matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded);
    let attempt =
        || async { timeout(ATTEMPT, attempt()).await.unwrap_or_else(|_| Err(status::jetstream_late())) };
    sleep(PAUSE).await;
    retry(Backoff::new(PAUSE, PAUSE), None, is_temporary, attempt).await
}
