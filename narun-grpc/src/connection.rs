mod fence;
mod inboxes;
mod streams;
mod verified;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::response::Response;
use async_nats::{Client, Request, Statistics};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tonic::Status;

use self::fence::Fence;
pub(crate) use self::inboxes::Inbox;
use self::inboxes::Inboxes;
pub(crate) use self::streams::{Ending, LiveStreams};
use self::verified::Verified;
use crate::status::{self, IntoStatus};

/// How long JetStream's API may take to answer, if the call does not end before.
const API_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a NATS account, with what the service keeps for it: cheap to clone, all clones are one.
///
/// It is for a [`Tenancy`](crate::tenancy::Tenancy) with several accounts. Make one of each client, once: each has a
/// fence and a control subscription of its own.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    client: Client,
    statistics: Arc<Statistics>,
    jetstream: Context,
    /// What the subjects of JetStream's API begin with.
    api: String,
    fence: OnceCell<Fence>,
    inboxes: Inboxes,
    live: OnceCell<LiveStreams>,
    verified: Verified,
}

/// How often the connection had been made when something was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Connection {
    /// Takes the client for tenants of its account. Has to be made within a tokio runtime.
    pub fn new(client: Client) -> Self {
        Self::build(client, None)
    }

    /// As [`new`](Self::new), with JetStream in this domain.
    pub fn with_domain(client: Client, domain: impl AsRef<str>) -> Self {
        Self::build(client, Some(domain.as_ref()))
    }

    fn build(client: Client, domain: Option<&str>) -> Self {
        let context = ContextBuilder::new().timeout(API_TIMEOUT).ack_timeout(API_TIMEOUT);
        let api = domain.map_or_else(|| "$JS.API".to_owned(), |domain| format!("$JS.{domain}.API"));
        let jetstream = context.api_prefix(api.clone()).build(client.clone());
        Self(Arc::new(Inner {
            statistics: client.statistics(),
            client,
            jetstream,
            api,
            fence: OnceCell::new(),
            inboxes: Inboxes::default(),
            live: OnceCell::new(),
            verified: Verified::default(),
        }))
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn jetstream(&self) -> &Context {
        &self.0.jetstream
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
        let payload = match serde_json::to_vec(request).map_err(|_| Status::internal("no JSON"))? {
            // Where nothing is asked with, JetStream wants just that.
            null if null == b"null" => Bytes::new(),
            payload => payload.into(),
        };
        let request = Request::new().payload(payload).timeout(Some(API_TIMEOUT));
        let answer = self.0.client.send_request(self.api_subject(&subject), request).await;
        let answer = answer.map_err(|error| status::jetstream(&error))?;
        match serde_json::from_slice(&answer.payload) {
            Ok(Response::Ok(response)) => Ok(Ok(response)),
            Ok(Response::Err { error }) => Ok(Err(error)),
            Err(_) => Err(Status::internal("an answer of JetStream that cannot be read")),
        }
    }

    /// The full subject of a request to JetStream's API.
    pub(crate) fn api_subject(&self, subject: &str) -> String {
        format!("{}.{subject}", self.0.api)
    }

    /// The streams that were lately found to be those of the tenants that their names are of.
    pub(crate) fn verified(&self) -> &Verified {
        &self.0.verified
    }

    /// Before something is published that is to be confirmed.
    ///
    /// While there is no connection it is refused, rather than buffered for later.
    pub(crate) fn mark(&self) -> Result<Mark, Status> {
        match self.0.client.connection_state() {
            State::Connected => Ok(self.epoch()),
            State::Pending | State::Disconnected => Err(status::disconnected()),
        }
    }

    /// Waits until the server has all that was published since the mark.
    pub(crate) async fn confirm(&self, mark: Mark) -> Result<(), Status> {
        let fence = self.0.fence.get_or_try_init(|| Fence::open(&self.0.client)).await?;
        // What was on its way when the connection broke is lost, though the fence comes through on the next one.
        if fence.pass().await && self.epoch() == mark {
            return Ok(());
        }
        Err(Status::unavailable("the connection to NATS broke; what was sent may be lost"))
    }

    fn epoch(&self) -> Mark {
        Mark(self.0.statistics.connects.load(Ordering::Relaxed))
    }

    /// An inbox to ask something with.
    pub(crate) async fn inbox(&self) -> Result<Inbox, Status> {
        self.0.inboxes.take(&self.0.client).await
    }

    /// Keeps an inbox, on which nothing more comes but to say so, for others.
    pub(crate) fn keep(&self, inbox: Inbox) {
        self.0.inboxes.keep(inbox);
    }

    /// The streams of subscribers on this connection.
    pub(crate) async fn live(&self) -> Result<&LiveStreams, Status> {
        self.0.live.get_or_try_init(|| LiveStreams::open(&self.0.client)).await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("state", &self.0.client.connection_state()).finish_non_exhaustive()
    }
}
