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
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Status;

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
}

impl Unacknowledged {
    /// Adds a message that is sent to a client.
    pub(crate) fn add(&self, sequence: u64, reply: Subject, worker: &Arc<Worker>, ack_wait: Duration) {
        worker.taken.fetch_add(1, Ordering::Relaxed);
        let (place, redelivered) = (Place(worker.clone()), Instant::now() + ack_wait);
        let message = SentMessage { place, reply, redelivered, ack_wait };
        // Another client may have had it before.
        drop(self.messages.table().insert(sequence, message));
    }

    /// Starts to receive acknowledgements, if that was not done before. Cancel safe.
    pub(crate) async fn listen(&self, client: &Client, reply: &Subject) -> Result<(), Status> {
        let Some(subjects) = ack_subjects(reply) else { return Ok(()) };
        let reader = async || {
            let acks = client.subscribe(subjects).await.or_status()?;
            Ok(tokio::spawn(read(acks, self.messages.clone(), self.all)))
        };
        self.reader.get_or_try_init(reader).await.map(drop)
    }

    /// Removes messages that were redelivered or acknowledged meanwhile, by the consumer's state.
    pub(crate) fn update(&self, floor: u64, pending: usize) {
        let now = Instant::now();
        let is_over = |sequence: u64, message: &SentMessage| {
            sequence <= floor || pending == 0 || message.redelivered <= now
        };
        self.messages.table().retain(|sequence, message| !is_over(*sequence, message));
    }

    /// Removes the messages of a client, and returns their reply subjects.
    pub(crate) fn take(&self, worker: &Arc<Worker>) -> Vec<Subject> {
        let mut replies = Vec::new();
        self.messages.table().retain(|_, message| {
            let is_own = Arc::ptr_eq(&message.place.0, worker);
            if is_own {
                replies.push(message.reply.clone());
            }
            !is_own
        });
        replies
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

async fn read(mut acks: Subscriber, messages: Arc<Messages>, all: bool) {
    while let Some(Message { subject, payload, .. }) = acks.next().await {
        match stream_sequence(&subject) {
            Some(sequence) if payload.starts_with(b"+WPI") => messages.goes_on(sequence),
            // A nak gives back one message.
            Some(sequence) => messages.acknowledged(sequence, all && !payload.starts_with(b"-NAK")),
            None => {}
        }
    }
}

/// The subjects of all acknowledgements of a consumer, by the reply subject of one of its messages.
fn ack_subjects(reply: &str) -> Option<String> {
    let tokens: Vec<_> = reply.split('.').collect();
    // The longer form has domain and account hash before the stream.
    let own = tokens.get(..if tokens.len() > 9 { 6 } else { 4 })?;
    Some(format!("{}.>", own.join(".")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{InFlight, Worker, ack_subjects};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn places_are_freed() {
        let in_flight = InFlight::default();
        let messages = in_flight.of("s", "c", false);
        let workers = [Arc::new(Worker::default()), Arc::new(Worker::default())];
        let taken = || [workers[0].taken(), workers[1].taken()];
        for sequence in 1..=6 {
            in_flight.of("s", "c", false).add(sequence, "reply".into(), &workers[0], LONG);
        }
        assert_eq!(taken(), [6, 0]);
        messages.messages.acknowledged(2, false);
        assert_eq!(taken(), [5, 0]);
        // It is redelivered, to another client.
        messages.add(3, "reply".into(), &workers[1], LONG);
        assert_eq!(taken(), [4, 1]);
        messages.messages.acknowledged(4, true);
        assert_eq!(taken(), [2, 0]);
        messages.update(5, 1);
        assert_eq!(taken(), [1, 0]);
        messages.add(7, "reply".into(), &workers[1], Duration::ZERO);
        messages.update(5, 2);
        assert_eq!(taken(), [1, 0]);
        assert_eq!(messages.take(&workers[0]), ["reply".into()]);
        messages.add(8, "reply".into(), &workers[1], LONG);
        messages.update(5, 0);
        assert_eq!(taken(), [0, 0]);
        drop(messages);
        in_flight.of("t", "c", false);
        assert_eq!(in_flight.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn acknowledgements_have_the_subjects_of_both_forms() {
        assert_eq!(ack_subjects("$JS.ACK.s.c.1.2.3.4.5").unwrap(), "$JS.ACK.s.c.>");
        assert_eq!(ack_subjects("$JS.ACK._.h.s.c.1.2.3.4.5").unwrap(), "$JS.ACK._.h.s.c.>");
        assert_eq!(ack_subjects("a.b"), None);
    }
}
