use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::status::OrStatus;

/// The subject on which replicas end each other's subscriptions, outside every tenant's subjects.
const CONTROL: &str = "narun.grpc.unsubscribe";

/// The live subscriptions of a connection, which Unsubscribe ends at every replica.
#[derive(Debug)]
pub(crate) struct LiveSubscriptions {
    client: Client,
    /// The name of this replica, so that it ignores its own messages: until they arrive, the tenant may have subscribed
    /// again.
    replica: String,
    entries: Arc<Entries>,
    listener: JoinHandle<()>,
}

/// Ends a subscription.
#[derive(Debug)]
pub(crate) struct End;

/// Resolves when the subscription is to end. Dropping it removes the subscription.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) end: oneshot::Receiver<End>,
    subject: Arc<str>,
    number: u64,
    entries: Arc<Entries>,
}

#[derive(Debug, Default)]
struct Entries(Mutex<SubscriptionTable>);

#[derive(Debug, Default)]
struct SubscriptionTable {
    next: u64,
    /// By NATS subject, and number.
    streams: HashMap<Arc<str>, BTreeMap<u64, oneshot::Sender<End>>>,
}

impl LiveSubscriptions {
    pub(super) async fn open(client: &Client) -> Result<Self, Status> {
        let control = client.subscribe(CONTROL).await.or_status()?;
        let entries = Arc::<Entries>::default();
        let replica = client.new_inbox();
        let listener = tokio::spawn(listen(control, replica.clone(), entries.clone()));
        Ok(Self { client: client.clone(), replica, entries, listener })
    }

    /// Adds a subscription to this NATS subject.
    pub(crate) fn add(&self, subject: &str) -> Ending {
        let (sender, end) = oneshot::channel();
        let mut table = self.entries.table();
        let number = table.next;
        table.next += 1;
        let subject = match table.streams.get_key_value(subject) {
            Some((subject, _)) => subject.clone(),
            None => Arc::from(subject),
        };
        table.streams.entry(subject.clone()).or_default().insert(number, sender);
        drop(table);
        Ending { end, subject, number, entries: self.entries.clone() }
    }

    /// Ends all subscriptions to this subject, here and at the other replicas.
    pub(crate) async fn end(&self, subject: &str) -> Result<(), Status> {
        self.entries.end(subject);
        // Neither part has a space.
        let message = Bytes::from(format!("{} {subject}", self.replica));
        self.client.publish(CONTROL, message).await.or_status()
    }
}

impl Drop for LiveSubscriptions {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Entries {
    fn table(&self) -> MutexGuard<'_, SubscriptionTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, subject: &str) {
        let ended = self.table().streams.remove(subject);
        for (_, end) in ended.into_iter().flatten() {
            // An error means that it has ended by itself.
            let _ = end.send(End);
        }
    }

    fn remove(&self, subject: &str, number: u64) {
        let mut table = self.table();
        if let Some(streams) = table.streams.get_mut(subject) {
            streams.remove(&number);
            if streams.is_empty() {
                table.streams.remove(subject);
            }
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.entries.remove(&self.subject, self.number);
    }
}

async fn listen(mut control: Subscriber, own: String, entries: Arc<Entries>) {
    while let Some(message) = control.next().await {
        let ended = std::str::from_utf8(&message.payload).ok().and_then(|text| text.split_once(' '));
        match ended {
            Some((replica, subject)) if replica != own => entries.end(subject),
            _ => {}
        }
    }
}
