mod fence;
mod inboxes;
mod leaving;
mod rates;
mod requests;
mod subscriptions;
mod verified;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{consumer, stream};
use async_nats::{Client, Message, Statistics};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tonic::Status;

use self::fence::Fence;
pub(crate) use self::inboxes::Inbox;
use self::inboxes::Inboxes;
use self::leaving::Leaving;
pub(crate) use self::leaving::{Due, completes_previous_pull};
use self::rates::Rates;
use self::requests::Requests;
pub(crate) use self::subscriptions::{Ending, LiveSubscriptions};
use self::verified::Verified;
use crate::status::{self, IntoStatus};

/// How long JetStream's API may take to respond.
const API_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a round trip may take.
const ROUND_TRIP: Duration = Duration::from_secs(2);

/// The oldest server whose JetStream is used: older ones have no stream metadata, which names the owner.
const OLDEST: (i64, i64) = (2, 10);

/// A connection to a NATS account, with the state that the service keeps for it. Cheap to clone; all clones share it.
///
/// A [`Tenancy`](crate::tenancy::Tenancy) with several accounts returns them. Make one per client: each has
/// subscriptions of its own.
#[derive(Clone)]
pub struct Connection(Arc<ConnectionState>);

struct ConnectionState {
    client: Client,
    statistics: Arc<Statistics>,
    jetstream: Context,
    /// The prefix of JetStream API subjects.
    api: String,
    fence: OnceCell<Fence>,
    requests: OnceCell<Requests>,
    inboxes: Inboxes,
    leaving: Leaving,
    live: OnceCell<LiveSubscriptions>,
    verified: Verified,
    rates: Rates,
    /// The epoch of the last server found recent enough for JetStream.
    recent: AtomicU64,
}

/// The number of times that the client had connected when a message was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    total: usize,
    // Null if there are none.
    #[serde(rename = "streams", alias = "consumers")]
    items: Option<Vec<T>>,
}

impl Connection {
    /// Uses this client, for tenants in its account. Must be called within a tokio runtime.
    pub fn new(client: Client) -> Self {
        Self::build(client, None)
    }

    /// As [`new`](Self::new), with this JetStream domain.
    pub fn with_domain(client: Client, domain: impl AsRef<str>) -> Self {
        Self::build(client, Some(domain.as_ref()))
    }

    fn build(client: Client, domain: Option<&str>) -> Self {
        let context = ContextBuilder::new().timeout(API_TIMEOUT).ack_timeout(API_TIMEOUT);
        let api = domain.map_or_else(|| "$JS.API".to_owned(), |domain| format!("$JS.{domain}.API"));
        let jetstream = context.api_prefix(api.clone()).build(client.clone());
        Self(Arc::new(ConnectionState {
            statistics: client.statistics(),
            client,
            jetstream,
            api,
            fence: OnceCell::new(),
            requests: OnceCell::new(),
            inboxes: Inboxes::default(),
            leaving: Leaving::default(),
            live: OnceCell::new(),
            verified: Verified::default(),
            rates: Rates::default(),
            recent: AtomicU64::new(0),
        }))
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The JetStream context. FAILED_PRECONDITION if the server is too old.
    pub(crate) fn jetstream(&self) -> Result<&Context, Status> {
        let epoch = self.epoch();
        // Check each server once.
        if self.0.recent.load(Ordering::Relaxed) != epoch.0 {
            let (major, minor) = OLDEST;
            if !self.0.client.is_server_compatible(major, minor, 0) {
                let message = format!("the NATS server is too old: JetStream needs {major}.{minor} or later");
                return Err(Status::failed_precondition(message));
            }
            self.0.recent.store(epoch.0, Ordering::Relaxed);
        }
        Ok(&self.0.jetstream)
    }

    /// Asks JetStream's API.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        subject: String,
        request: &(impl Serialize + ?Sized),
    ) -> Result<T, Status> {
        match self.ask(subject, request).await? {
            Ok(response) => Ok(response),
            Err(error) => Err(error.into_status()),
        }
    }

    /// As [`api`](Self::api), for those who look at what JetStream refuses.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        request: &(impl Serialize + ?Sized),
    ) -> Result<Result<T, async_nats::jetstream::Error>, Status> {
        self.mark()?;
        self.jetstream()?;
        let payload = match serde_json::to_vec(request).map_err(|_| Status::internal("no JSON"))? {
            // Where nothing is asked with, JetStream wants just that.
            null if null == b"null" => Bytes::new(),
            payload => payload.into(),
        };
        let answer = timeout(API_TIMEOUT, self.request(self.api_subject(&subject), payload)).await;
        let answer = answer.map_err(|_| status::jetstream_late())??;
        let answer = answer.ok_or_else(status::no_jetstream)?;
        match serde_json::from_slice(&answer.payload) {
            Ok(Response::Ok(response)) => Ok(Ok(response)),
            Ok(Response::Err { error }) => Ok(Err(error)),
            Err(_) => Err(Status::internal("an answer of JetStream that cannot be read")),
        }
    }

    /// A stream as it is now, by NATS's name of it.
    pub(crate) fn stream_info(&self, stream: &str) -> impl Future<Output = Result<stream::Info, Status>> {
        self.api(format!("STREAM.INFO.{stream}"), &())
    }

    /// A handle of a bucket's stream, without a look-up.
    pub(crate) async fn bucket(&self, stream: &str) -> Result<Stream<()>, Status> {
        let stream = self.jetstream()?.get_stream_no_info(stream).await;
        stream.map_err(|_| Status::invalid_argument("invalid bucket name"))
    }

    /// A consumer as it is now, by NATS's names of its stream and of itself.
    pub(crate) fn consumer_info(
        &self,
        stream: &str,
        consumer: &str,
    ) -> impl Future<Output = Result<consumer::Info, Status>> {
        self.api(format!("CONSUMER.INFO.{stream}.{consumer}"), &())
    }

    /// Asks JetStream's API for a list, page after page.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        subject: &str,
        mut request: Value,
        mut see: impl FnMut(T),
    ) -> Result<(), Status> {
        let mut offset = 0;
        loop {
            request["offset"] = offset.into();
            let page: Page<T> = self.api(subject.to_owned(), &request).await?;
            let items = page.items.unwrap_or_default();
            offset += items.len();
            let done = items.is_empty() || offset >= page.total;
            items.into_iter().for_each(&mut see);
            if done {
                return Ok(());
            }
        }
    }

    /// Sends a request and waits for its answer, for as long as the caller does; none if nobody takes such requests.
    pub(crate) async fn request(&self, subject: String, payload: Bytes) -> Result<Option<Message>, Status> {
        let requests = self.0.requests.get_or_try_init(|| Requests::open(&self.0.client)).await?;
        requests.send(subject, payload).await
    }

    /// The full subject of a request to JetStream's API.
    pub(crate) fn api_subject(&self, subject: &str) -> String {
        format!("{}.{subject}", self.0.api)
    }

    /// The streams recently verified to be their tenants'.
    pub(crate) fn verified(&self) -> &Verified {
        &self.0.verified
    }

    /// The message and byte rates of streams.
    pub(crate) fn rates(&self) -> &Rates {
        &self.0.rates
    }

    /// Marks the connection before a publish that [`confirm`](Self::confirm) will confirm.
    ///
    /// Fails while NATS is disconnected: the client would buffer the message for later.
    pub(crate) fn mark(&self) -> Result<Mark, Status> {
        match self.0.client.connection_state() {
            State::Connected => Ok(self.epoch()),
            State::Pending | State::Disconnected => Err(status::disconnected()),
        }
    }

    /// Waits until the server has received everything published since the mark. Fails if the connection broke in between.
    pub(crate) async fn confirm(&self, mark: Mark) -> Result<(), Status> {
        let fence = self.0.fence.get_or_try_init(|| Fence::open(&self.0.client)).await?;
        // A fence passes on a new connection too, but messages on their way on the old one may be lost.
        if fence.pass().await && self.epoch() == mark {
            return Ok(());
        }
        Err(Status::unavailable("the connection to NATS broke; what was sent may be lost"))
    }

    /// Whether a message to the server and back passes in time.
    pub(crate) async fn round_trip(&self) -> bool {
        let Ok(mark) = self.mark() else { return false };
        matches!(timeout(ROUND_TRIP, self.confirm(mark)).await, Ok(Ok(())))
    }

    fn epoch(&self) -> Mark {
        Mark(self.0.statistics.connects.load(Ordering::Relaxed))
    }

    /// An inbox for a pull.
    pub(crate) async fn inbox(&self) -> Result<Inbox, Status> {
        self.0.inboxes.take(&self.0.client, self.epoch()).await
    }

    /// Keeps an inbox for reuse. Only status messages may still arrive there.
    pub(crate) fn keep(&self, inbox: Inbox) {
        self.0.inboxes.keep(inbox);
    }

    /// Gives back pulled messages with a nak, so that they are redelivered at once.
    pub(crate) fn give_back(&self, messages: Vec<Message>) {
        self.0.leaving.leave(&self.0.client, messages, None);
    }

    /// Closes an inbox, and gives back the messages that still arrive there.
    pub(crate) fn leave(&self, inbox: Inbox, due: Due) {
        // A pull of a previous connection is lost, and its count of messages is void.
        if inbox.mark != self.epoch() {
            return;
        }
        self.0.leaving.leave(&self.0.client, Vec::new(), Some((inbox, due)));
    }

    /// The live subscriptions of this connection.
    pub(crate) async fn live(&self) -> Result<&LiveSubscriptions, Status> {
        self.0.live.get_or_try_init(|| LiveSubscriptions::open(&self.0.client)).await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("state", &self.0.client.connection_state()).finish_non_exhaustive()
    }
}
