mod changes;
mod control;
mod fence;
mod in_flight;
mod inboxes;
mod leaving;
mod mark;
mod rates;
mod requests;
mod subscriptions;
mod verified;

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::datetime::DateTime;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{RawMessage, Stream};
use async_nats::jetstream::{consumer, stream};
use async_nats::{Client, Message, Statistics};
use bytes::Bytes;
use narun_nats::jetstream::{Api, ApiError, Requester};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Code, Status};

use self::changes::Changes;
pub(crate) use self::control::ControlKey;
use self::fence::Fence;
use self::in_flight::InFlight;
pub(crate) use self::in_flight::{Unacknowledged, Worker};
pub(crate) use self::inboxes::Inbox;
use self::inboxes::Inboxes;
pub(crate) use self::leaving::{Due, Unread, completes_previous_pull};
use self::leaving::{Leaving, Left};
pub(crate) use self::mark::Mark;
use self::rates::Rates;
use self::requests::Requests;
pub(crate) use self::subscriptions::{Ending, LiveSubscriptions};
use self::verified::Verified;
use crate::status::{self, OrStatus};

/// How long JetStream's API may take to respond.
const API_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a round trip may take.
const ROUND_TRIP: Duration = Duration::from_secs(2);

/// How long a call that must not be repeated may still succeed after the connection was lost: what it waits for may
/// come on the next connection.
const GRACE: Duration = Duration::from_secs(2);

/// How long a call that can be repeated waits for the next connection.
const RETURN: Duration = Duration::from_millis(2500);

/// How long the end of a program waits for what is still to be sent.
const FINISH: Duration = Duration::from_secs(5);

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
    changes: Changes,
    jetstream: Context,
    api: Arc<Api<Requests>>,
    fence: OnceCell<Fence>,
    inboxes: Inboxes,
    in_flight: InFlight,
    leaving: Leaving,
    live: OnceCell<LiveSubscriptions>,
    verified: Verified,
    rates: Rates,
    /// The epoch of the last server found recent enough for JetStream.
    recent: AtomicU64,
}

/// A response to the request of a message.
#[derive(Deserialize)]
struct StoredMessage {
    message: RawMessage,
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
        let api = Api::new(Requests::new(client.clone())).limit(API_TIMEOUT);
        let api = domain.into_iter().fold(api, Api::domain);
        let jetstream = context.api_prefix(api.prefix()).build(client.clone());
        Self(Arc::new(ConnectionState {
            statistics: client.statistics(),
            changes: Changes::watch(client.clone()),
            client,
            jetstream,
            api: Arc::new(api),
            fence: OnceCell::new(),
            inboxes: Inboxes::default(),
            in_flight: InFlight::default(),
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

    /// Waits until the messages of clients that left were given back to their consumers, and until NATS has everything that
    /// was sent. Gives up after 5 s, or if the connection is lost: the messages are redelivered after the consumer's
    /// `ack_wait` then.
    ///
    /// Call it after the server has shut down, before the program ends. Not cancel safe: if it is dropped, so is what is
    /// not given back yet.
    pub async fn finish(&self) {
        let Ok(mark) = self.mark() else { return };
        let finished = async {
            self.0.leaving.finish().await;
            self.0.client.flush().await
        };
        tokio::select! {
            _ = timeout(FINISH, finished) => {}
            () = self.lost(mark) => {}
        }
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

    /// Sends a request to JetStream's API.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        operation: String,
        request: &(impl Serialize + ?Sized),
    ) -> Result<T, Status> {
        self.ready_api()?.request(&operation, request).await.or_status()
    }

    /// The current state of a stream, by its NATS name.
    pub(crate) async fn stream_info(&self, stream: &str) -> Result<stream::Info, Status> {
        self.ready_api()?.stream_info(stream).await.or_status()
    }

    /// When the message at this sequence was stored. Returns `None` if there is no such message.
    pub(crate) async fn stored_at(&self, stream: &str, sequence: u64) -> Result<Option<DateTime>, Status> {
        let get = self.api(format!("STREAM.MSG.GET.{stream}"), &json!({ "seq": sequence })).await;
        let Some(StoredMessage { message }) = status::if_found(get)? else { return Ok(None) };
        Ok(Some(message.time))
    }

    /// A handle of a bucket's stream, without a look-up.
    pub(crate) async fn bucket(&self, stream: &str) -> Result<Stream<()>, Status> {
        let stream = self.jetstream()?.get_stream_no_info(stream).await;
        stream.map_err(|_| Status::invalid_argument("invalid bucket name"))
    }

    /// The current state of a consumer, by the NATS names of its stream and itself.
    pub(crate) async fn consumer_info(&self, stream: &str, consumer: &str) -> Result<consumer::Info, Status> {
        self.ready_api()?.consumer_info(stream, consumer).await.or_status()
    }

    /// Requests a list from JetStream's API, page by page.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: Value,
        each: impl FnMut(T),
    ) -> Result<(), Status> {
        self.ready_api()?.list(operation, request, each).await.or_status()
    }

    /// JetStream's API, if there is a connection to a server that is recent enough.
    fn ready_api(&self) -> Result<&Api<Requests>, Status> {
        self.mark()?;
        self.jetstream()?;
        Ok(&self.0.api)
    }

    /// Sends a request and returns the reply, `None` if nothing subscribes to the subject. Has no limit of its own.
    pub(crate) async fn request(&self, subject: String, payload: Bytes) -> Result<Option<Message>, Status> {
        match self.0.api.requester().send(subject, payload).await {
            Err(ApiError::NoResponders) => Ok(None),
            reply => reply.map(Some).or_status(),
        }
    }

    /// The full subject of an operation of JetStream's API.
    pub(crate) fn api_subject(&self, operation: &str) -> String {
        self.0.api.subject(operation)
    }

    /// The subject that stores what is published to this subject of a key-value bucket.
    ///
    /// Between a hub and its leaf nodes, servers pass on nothing of `$KV`: the subjects of another domain's buckets are
    /// below the domain's API, as NATS clients have them (ADR-8).
    pub(crate) fn kv_subject(&self, subject: String) -> String {
        match self.0.api.prefix() {
            "$JS.API" => subject,
            prefix => format!("{prefix}.{subject}"),
        }
    }

    /// The streams recently verified to be their tenants'.
    pub(crate) fn verified(&self) -> &Verified {
        &self.0.verified
    }

    /// Messages and bytes stored per second in a stream, whose current state is a sample. See [`Rates::of`].
    pub(crate) fn rates(&self, stream: &str, state: &stream::State) -> (f64, f64) {
        self.0.rates.of(&self.0.api, stream, state)
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

    /// Whether the call failed because the connection of this mark was lost.
    pub(crate) fn is_reason(&self, mark: Mark, failure: &Status) -> bool {
        matches!(failure.code(), Code::Unavailable | Code::DeadlineExceeded) && self.is_lost(mark)
    }

    /// Whether the connection of this mark was lost, even if there is another one.
    pub(crate) fn is_lost(&self, mark: Mark) -> bool {
        !self.mark().is_ok_and(|now| now == mark)
    }

    /// Waits until the connection of this mark is lost. Cancel safe.
    pub(crate) async fn lost(&self, mark: Mark) {
        let mut changes = self.0.changes.subscribe();
        // It only fails after the watcher has ended, which lives as long as this.
        while !self.is_lost(mark) && changes.changed().await.is_ok() {}
    }

    /// Waits until NATS is connected. UNAVAILABLE if it is not until then, or 2.5 s from now if that is later.
    pub(crate) async fn restored(&self, until: Instant) -> Result<(), Status> {
        let until = until.max(Instant::now() + RETURN);
        let mut changes = self.0.changes.subscribe();
        let restored = async { while self.mark().is_err() && changes.changed().await.is_ok() {} };
        timeout_at(until, restored).await.map_err(|_| status::disconnected())
    }

    /// Runs what must not be done twice. UNAVAILABLE if the connection is lost meanwhile and it does not succeed soon.
    pub(crate) async fn unless_lost<T>(
        &self,
        work: Pin<&mut impl Future<Output = Result<T, Status>>>,
    ) -> Result<T, Status> {
        // Not connected: it fails by itself, or it needs no connection.
        let Ok(mark) = self.mark() else { return work.await };
        let given_up = async {
            self.lost(mark).await;
            sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            result = work => result,
            () = given_up => Err(status::lost()),
        }
    }

    /// Runs what may be done twice. If the connection is lost meanwhile, it is done again on the next one. UNAVAILABLE
    /// if there is none within 2.5 s.
    pub(crate) async fn repeat<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        loop {
            let Ok(mark) = self.mark() else { return attempt().await };
            let work = pin!(attempt());
            let result = tokio::select! {
                biased;
                result = work => result,
                () = self.lost(mark) => Err(status::lost()),
            };
            match result {
                Err(status) if self.is_reason(mark, &status) => {}
                result => return result,
            }
            self.restored(Instant::now()).await?;
        }
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

    /// The messages of a consumer that clients here have not acknowledged.
    pub(crate) fn unacknowledged(&self, stream: &str, consumer: &str, all: bool) -> Arc<Unacknowledged> {
        self.0.in_flight.of(stream, consumer, all)
    }

    /// Frees the place of a message in ConsumeMessages: the server has confirmed that it was acknowledged or given back since
    /// this time. The subscription to acknowledgements may not have shown it.
    pub(crate) fn confirmed(
        &self,
        stream: &str,
        consumer: &str,
        sequence: u64,
        since: Instant,
        is_nak: bool,
    ) {
        self.0.in_flight.confirmed(stream, consumer, sequence, since, is_nak);
    }

    /// Gives back messages with a nak, so that they are redelivered at once.
    pub(crate) fn give_back(&self, messages: Vec<Unread>) {
        if !messages.is_empty() {
            self.0.leaving.leave(&self.0.client, messages, None);
        }
    }

    /// Closes an inbox, and gives back the messages that still arrive there, or have waited there for less than `ack_wait`.
    pub(crate) fn leave(&self, inbox: Inbox, due: Due, ack_wait: Option<Duration>) {
        // A pull of a previous connection is lost, and its count of messages is void.
        if inbox.mark != self.epoch() {
            return;
        }
        self.0.leaving.leave(&self.0.client, Vec::new(), Some(Left { inbox, due, ack_wait }));
    }

    /// The live subscriptions of this connection.
    pub(crate) async fn live(&self, key: &ControlKey) -> Result<&LiveSubscriptions, Status> {
        self.0.live.get_or_try_init(|| LiveSubscriptions::open(&self.0.client, key)).await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("state", &self.0.client.connection_state()).finish_non_exhaustive()
    }
}
