use std::fmt;
use std::sync::Arc;

use async_nats::{Client, ConnectError, ConnectOptions, ToServerAddrs};

use crate::inbox::Endpoint;
use crate::nats_events::{DenialWatch, NatsEvents};

/// A NATS client with its [events](NatsEvents), by which missing permissions are found at once. Cheap to clone.
///
/// [`NatsAccess::connect`](crate::NatsAccess::connect) returns one. With options of your own:
///
/// ```no_run
/// # async fn example() -> Result<(), async_nats::ConnectError> {
/// let options = async_nats::ConnectOptions::new().name("gateway");
/// let nats = narun_nats::NatsClient::connect(options, "127.0.0.1:4222").await?;
/// # Ok(())
/// # }
/// ```
///
/// A `NatsClient` from a [`Client`] has no events: what NATS denies is then found late, or not at all.
#[derive(Clone)]
pub struct NatsClient {
    client: Client,
    events: Option<NatsEvents>,
}

/// The client's connection task has ended: no message will ever arrive again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the NATS client is dead")]
pub struct ClientLost;

impl NatsClient {
    /// Connects with these options, and sets their event callback.
    ///
    /// # Errors
    ///
    /// As [`ConnectOptions::connect`].
    pub async fn connect(options: ConnectOptions, servers: impl ToServerAddrs) -> Result<Self, ConnectError> {
        let events = NatsEvents::new();
        let client = options.event_callback(events.callback()).connect(servers).await?;
        Ok(Self::new(client, events))
    }

    /// A client whose event callback is [that of these events](NatsEvents::callback), or calls their
    /// [`handle`](NatsEvents::handle).
    pub const fn new(client: Client, events: NatsEvents) -> Self {
        Self { client, events: Some(events) }
    }

    /// The client of async-nats.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Returns whether it has events, so that missing permissions are found.
    pub const fn has_events(&self) -> bool {
        self.events.is_some()
    }

    /// Watches for denials from now on. Without events, there are none.
    pub fn watch(&self) -> DenialWatch {
        self.events.as_ref().map_or_else(DenialWatch::none, NatsEvents::watch)
    }

    /// Logs how many denials there were like one that was logged. Never completes.
    pub async fn summarize(&self) {
        match &self.events {
            Some(events) => events.summarize().await,
            None => std::future::pending().await,
        }
    }

    /// Notifies the exchanges of this endpoint of denials from now on.
    pub(crate) fn listen(&self, endpoint: &Arc<Endpoint>) {
        if let Some(events) = &self.events {
            events.listen(endpoint);
        }
    }
}

impl From<Client> for NatsClient {
    fn from(client: Client) -> Self {
        Self { client, events: None }
    }
}

impl From<NatsClient> for Client {
    fn from(nats: NatsClient) -> Self {
        nats.client
    }
}

impl fmt::Debug for NatsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsClient").field("has_events", &self.has_events()).finish_non_exhaustive()
    }
}
