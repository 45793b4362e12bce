use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Status;
use tracing::warn;

use super::control::{ControlKey, Received, Refused};
use crate::random;
use crate::status::OrStatus;

/// The subject on which replicas end each other's subscriptions, outside every tenant's subjects.
const CONTROL: &str = "narun.grpc.unsubscribe";

/// How often messages that are not signed with the key are logged.
const LOGGED: Duration = Duration::from_secs(60);

/// The live subscriptions of a connection, which Unsubscribe ends at every replica.
#[derive(Debug)]
pub(crate) struct LiveSubscriptions {
    client: Client,
    /// The name of this replica, so that it ignores its own messages: until they arrive, the tenant may have subscribed
    /// again.
    replica: String,
    key: ControlKey,
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
    pub(super) async fn open(client: &Client, key: &ControlKey) -> Result<Self, Status> {
        let control = client.subscribe(CONTROL).await.or_status()?;
        let entries = Arc::<Entries>::default();
        let (replica, key) = (random::token(), key.clone());
        let listener = tokio::spawn(listen(control, replica.clone(), key.clone(), entries.clone()));
        Ok(Self { client: client.clone(), replica, key, entries, listener })
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
        let message = Bytes::from(self.key.sign(&self.replica, subject));
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

async fn listen(mut control: Subscriber, own: String, key: ControlKey, entries: Arc<Entries>) {
    let (mut received, mut logged) = (Received::default(), None::<Instant>);
    while let Some(message) = control.next().await {
        match key.verify(&mut received, std::str::from_utf8(&message.payload).unwrap_or_default()) {
            Ok((replica, subject)) if replica != own => entries.end(subject),
            Ok(_) | Err(Refused::Repeated) => {}
            // Not each: others decide how many there are.
            Err(Refused::Forged) if logged.is_some_and(|logged| logged.elapsed() < LOGGED) => {}
            Err(Refused::Forged) => {
                logged = Some(Instant::now());
                warn!("ignored an unsubscribe that is not signed with this replica's ack_token_key");
            }
        }
    }
}
