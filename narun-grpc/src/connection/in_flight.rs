//! The messages that clients of ConsumeMessages have not acknowledged.
//!
//! Acknowledgements are ordinary messages, which any subscriber of their subject receives: so those through another
//! replica, or of a NATS client, count as well.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_nats::{Client, Message, Subject, Subscriber};
use futures::StreamExt;
use futures::stream::{Select, select};
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Status;

use super::leaving::Unread;
use crate::state::ack_tokens::stream_sequence;
use crate::status::OrStatus;

/// The consumers of which clients have messages, by the NATS names of stream and consumer.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<HashMap<(String, String), Weak<Unacknowledged>>>);

/// The messages of one consumer that its clients here have not acknowledged.
#[derive(Debug)]
pub(crate) struct Unacknowledged {
    messages: Arc<Messages>,
    /// Whether an acknowledgement counts for all messages before it, too.
    all: bool,
    reader: OnceCell<JoinHandle<()>>,
}

/// By stream sequence.
#[derive(Debug, Default)]
struct Messages(Mutex<BTreeMap<u64, SentMessage>>);

/// A message sent to a client.
#[derive(Debug)]
struct SentMessage {
    place: Place,
    reply: Subject,
    sent: Instant,
    /// When it is redelivered, and how long that is after its delivery or the last sign of progress.
    redelivered: Instant,
    ack_wait: Duration,
}

/// A client of ConsumeMessages, and how many of the messages are its own.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    taken: AtomicUsize,
    freed: Notify,
}

/// One of the messages that a client may have, until this is dropped.
#[derive(Debug)]
struct Place(Arc<Worker>);

impl InFlight {
    pub(super) fn of(&self, stream: &str, consumer: &str, all: bool) -> Arc<Unacknowledged> {
        let mut consumers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (stream.to_owned(), consumer.to_owned());
        let known = consumers.get(&key).and_then(Weak::upgrade).filter(|known| known.all == all);
        known.unwrap_or_else(|| {
            consumers.retain(|_, consumer| consumer.strong_count() > 0);
            let new = Arc::new(Unacknowledged { messages: Arc::default(), all, reader: OnceCell::new() });
            consumers.insert(key, Arc::downgrade(&new));
            new
        })
    }

    /// Frees the place of a message that was acknowledged or given back here since this time, unless it was sent again.
    pub(super) fn confirmed(
        &self,
        stream: &str,
        consumer: &str,
        sequence: u64,
        since: Instant,
        is_nak: bool,
    ) {
        let key = (stream.to_owned(), consumer.to_owned());
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).and_then(Weak::upgrade);
        if let Some(known) = known {
            // A nak gives back one message.
            let first = if known.all && !is_nak { 0 } else { sequence };
            let is_over = |message: u64| (first..=sequence).contains(&message);
            known.messages.table().retain(|message, sent| !(is_over(*message) && sent.sent <= since));
        }
    }
}

impl Unacknowledged {
    /// Adds a message that is sent to a client, and arrived at this time.
    pub(crate) fn add(
        &self,
        sequence: u64,
        reply: Subject,
        worker: &Arc<Worker>,
        arrived: Instant,
        ack_wait: Duration,
    ) {
        worker.taken.fetch_add(1, Ordering::Relaxed);
        let (place, redelivered) = (Place(worker.clone()), arrived + ack_wait);
        let message = SentMessage { place, reply, sent: Instant::now(), redelivered, ack_wait };
        // Another client may have had it before.
        drop(self.messages.table().insert(sequence, message));
    }

    /// Starts to receive the acknowledgements of this consumer, if that was not done before. Cancel safe.
    pub(crate) async fn listen(&self, client: &Client, stream: &str, consumer: &str) -> Result<(), Status> {
        let reader = async || {
            let [short, long] = ack_subjects(stream, consumer);
            let acks = client.subscribe(short).await.or_status()?;
            let acks = select(acks, client.subscribe(long).await.or_status()?);
            Ok(tokio::spawn(read(acks, self.messages.clone(), self.all)))
        };
        self.reader.get_or_try_init(reader).await.map(drop)
    }

    /// Removes messages that were redelivered or acknowledged meanwhile, by the consumer's state, which was looked up after
    /// this time.
    ///
    /// If more were sent before than are pending, the others were acknowledged, but which ones is not known: the oldest
    /// count as acknowledged.
    pub(crate) fn update(&self, looked_up: Instant, floor: u64, pending: usize) {
        let now = Instant::now();
        let is_over = |sequence: u64, message: &SentMessage| {
            sequence <= floor || pending == 0 || message.redelivered <= now
        };
        let mut table = self.messages.table();
        table.retain(|sequence, message| !is_over(*sequence, message));
        let is_earlier = |message: &SentMessage| message.sent < looked_up;
        let earlier = table.values().filter(|message| is_earlier(message)).count();
        let mut acknowledged = earlier.saturating_sub(pending);
        table.retain(|_, message| {
            let is_over = acknowledged > 0 && is_earlier(message);
            acknowledged -= usize::from(is_over);
            !is_over
        });
    }

    /// Removes the messages of a client, and returns them.
    pub(crate) fn take(&self, worker: &Arc<Worker>) -> Vec<Unread> {
        let mut taken = Vec::new();
        self.messages.table().retain(|_, message| {
            let is_own = Arc::ptr_eq(&message.place.0, worker);
            if is_own {
                taken.push(Unread { reply: message.reply.clone(), redelivered: Some(message.redelivered) });
            }
            !is_own
        });
        taken
    }
}

impl Drop for Unacknowledged {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.get() {
            reader.abort();
        }
    }
}

impl Messages {
    fn table(&self) -> MutexGuard<'_, BTreeMap<u64, SentMessage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledged(&self, sequence: u64, all: bool) {
        let mut table = self.table();
        match all {
            true => {
                let left = table.split_off(&sequence.saturating_add(1));
                *table = left;
            }
            false => drop(table.remove(&sequence)),
        }
    }

    fn goes_on(&self, sequence: u64) {
        if let Some(message) = self.table().get_mut(&sequence) {
            message.redelivered = Instant::now() + message.ack_wait;
        }
    }
}

impl Worker {
    /// How many messages it has.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits until it has fewer messages than before. Cancel safe.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_one();
    }
}

async fn read(mut acks: Select<Subscriber, Subscriber>, messages: Arc<Messages>, all: bool) {
    while let Some(Message { subject, payload, .. }) = acks.next().await {
        match stream_sequence(&subject) {
            Some(sequence) if payload.starts_with(b"+WPI") => messages.goes_on(sequence),
            // A nak gives back one message.
            Some(sequence) => messages.acknowledged(sequence, all && !payload.starts_with(b"-NAK")),
            None => {}
        }
    }
}

/// The subjects of all acknowledgements of a consumer. Clients may use either form, whatever the server sent.
fn ack_subjects(stream: &str, consumer: &str) -> [String; 2] {
    // The longer form has domain and account hash before the stream.
    ["", "*.*."].map(|before| format!("$JS.ACK.{before}{stream}.{consumer}.>"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{InFlight, Worker, ack_subjects};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn places_are_freed() {
        let in_flight = InFlight::default();
        let (messages, now) = (in_flight.of("s", "c", false), Instant::now());
        let workers = [Arc::new(Worker::default()), Arc::new(Worker::default())];
        let taken = || [workers[0].taken(), workers[1].taken()];
        for sequence in 1..=6 {
            in_flight.of("s", "c", false).add(sequence, "reply".into(), &workers[0], now, LONG);
        }
        assert_eq!(taken(), [6, 0]);
        messages.messages.acknowledged(2, false);
        assert_eq!(taken(), [5, 0]);
        // It is redelivered, to another client.
        messages.add(3, "reply".into(), &workers[1], now, LONG);
        assert_eq!(taken(), [4, 1]);
        messages.messages.acknowledged(4, true);
        assert_eq!(taken(), [2, 0]);
        messages.update(now, 5, 1);
        assert_eq!(taken(), [1, 0]);
        messages.add(7, "reply".into(), &workers[1], now, Duration::ZERO);
        messages.update(now, 5, 2);
        assert_eq!(taken(), [1, 0]);
        let left: Vec<_> = messages.take(&workers[0]).into_iter().map(|left| left.reply).collect();
        assert_eq!(left, ["reply".into()]);
        // It may be redelivered to another client by now, at another replica.
        messages.add(7, "reply".into(), &workers[0], now, LONG);
        messages.add(8, "reply".into(), &workers[0], now, Duration::ZERO);
        let left: Vec<_> = messages.take(&workers[0]).into_iter().map(|left| left.redelivered).collect();
        assert_eq!(left, [Some(now + LONG), Some(now)]);
        messages.add(8, "reply".into(), &workers[1], now, LONG);
        messages.update(now, 5, 0);
        assert_eq!(taken(), [0, 0]);
        // More were sent than are pending, some of them after the consumer was looked up.
        for sequence in 11..=13 {
            messages.add(sequence, "reply".into(), &workers[0], now, LONG);
        }
        messages.update(now, 5, 1);
        assert_eq!(taken(), [3, 0]);
        messages.update(Instant::now() + LONG, 5, 2);
        assert_eq!(taken(), [2, 0]);
        // Sent again since, of another consumer, and acknowledged.
        in_flight.confirmed("s", "c", 13, now, false);
        in_flight.confirmed("s", "other", 13, Instant::now(), false);
        assert_eq!(taken(), [2, 0]);
        in_flight.confirmed("s", "c", 13, Instant::now(), false);
        assert_eq!(taken(), [1, 0]);
        drop(messages);
        in_flight.of("t", "c", false);
        assert_eq!(in_flight.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn acknowledgements_have_the_subjects_of_both_forms() {
        assert_eq!(ack_subjects("s", "c"), ["$JS.ACK.s.c.>", "$JS.ACK.*.*.s.c.>"]);
    }
}
