//! A namespace for one test: gateways, buckets, and a consumer played by the test.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::{HeaderMap, Subject, jetstream};
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response};
use narun_core::fields::Edit;
use narun_core::frame::{RequestFrame, RequestHead};
use narun_core::{App, ExchangeId, Limits, Namespace};
use narun_gateway::{Body, Gateway, GatewayBuilder, Route, Storage, StreamSettings};
use narun_nats::jetstream::{
    Outcome, OutcomeState, OutcomeStore, StoredOutcome, TaskStreams, body_digest, header, request_digest,
};

use crate::consumer::encode_response;
use crate::harness::{HttpResponse, connect, soon};

const APP: &str = "app";

pub(crate) struct Site {
    tasks: TaskStreams,
    settings: StreamSettings,
}

/// Everything in memory.
pub(crate) fn settings() -> StreamSettings {
    StreamSettings::new().storage(Storage::Memory)
}

/// A route to the app for everything.
pub(crate) fn route() -> Route {
    Route::any("/", APP).prefix().durable()
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: StreamSettings) -> Self {
        static SITES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("SITE-{}", SITES.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace::new(name).expect("a name");
        let tasks = TaskStreams::new(connect().await, namespace, settings.clone());
        tasks.declare_stream().await.expect("a stream");
        Self { tasks, settings }
    }

    /// A gateway with one durable route for everything.
    pub(crate) async fn gateway(&self) -> Gateway {
        self.gateway_with(|builder| builder.route(route())).await
    }

    pub(crate) async fn gateway_with(&self, set: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Gateway {
        set(self.builder(connect().await)).build().await.expect("a gateway")
    }

    /// A gateway over this client, with one durable route for everything.
    pub(crate) async fn gateway_over(&self, client: async_nats::Client) -> Gateway {
        self.builder(client).route(route()).build().await.expect("a gateway")
    }

    fn builder(&self, client: async_nats::Client) -> GatewayBuilder {
        Gateway::builder(client)
            .namespace(self.tasks.namespace().clone())
            .stream_settings(self.settings.clone())
    }

    pub(crate) async fn consumer(&self) -> Consumer {
        let app = App::new(APP).expect("a name");
        self.tasks.declare_consumer(&app, std::time::Duration::from_secs(30)).await.expect("a consumer");
        let stream = self.tasks.namespace().task_stream();
        let consumer: PullConsumer =
            self.tasks.context().get_consumer_from_stream(APP, stream).await.expect("a consumer");
        let messages = consumer.messages().await.expect("a subscription");
        Consumer { messages: Box::pin(messages), outcomes: self.outcomes().await, client: connect().await }
    }

    pub(crate) async fn outcomes(&self) -> OutcomeStore {
        self.tasks.outcomes().await.expect("a bucket")
    }

    /// The stored outcome of a request.
    pub(crate) async fn kept(&self, id: ExchangeId) -> Option<StoredOutcome> {
        self.outcomes().await.get(id).await.expect("a record or none")
    }

    /// Overwrites a record with other bytes.
    pub(crate) async fn spoil(&self, id: ExchangeId) {
        let subject = format!("$KV.{}.{id}", self.tasks.namespace().outcomes_bucket());
        let published = self.tasks.context().publish(subject, "junk".into()).await.expect("sent");
        published.await.expect("stored");
    }

    /// How many messages the stream has accepted so far.
    pub(crate) async fn accepted(&self) -> u64 {
        let name = self.tasks.namespace().task_stream();
        let stream = self.tasks.context().get_stream(name).await.expect("a stream");
        stream.cached_info().state.last_sequence
    }

    /// How many messages are in the stream.
    pub(crate) async fn waiting(&self) -> u64 {
        let name = self.tasks.namespace().task_stream();
        let stream = self.tasks.context().get_stream(name).await.expect("a stream");
        stream.cached_info().state.messages
    }

    /// How many records are stored.
    pub(crate) async fn records(&self) -> u64 {
        let keys = self.bucket().await.keys().await.expect("keys");
        keys.filter(|key| std::future::ready(key.as_deref().is_ok_and(|key| key != "secret"))).count().await
            as u64
    }

    pub(crate) async fn delete_outcomes(&self) {
        let bucket = self.tasks.namespace().outcomes_bucket();
        self.tasks.context().delete_key_value(bucket).await.expect("a bucket deleted");
    }

    pub(crate) async fn delete_secret(&self) {
        self.bucket().await.purge("secret").await.expect("a secret deleted");
    }

    pub(crate) async fn has_secret(&self) -> bool {
        self.bucket().await.get("secret").await.expect("a value or none").is_some()
    }

    async fn bucket(&self) -> jetstream::kv::Store {
        let bucket = self.tasks.namespace().outcomes_bucket();
        self.tasks.context().get_key_value(bucket).await.expect("a bucket")
    }

    /// Replaces the stream by one that gateways refuse.
    pub(crate) async fn spoil_stream(&self) {
        let name = self.tasks.namespace().task_stream();
        self.tasks.context().delete_stream(name).await.expect("a stream deleted");
        let subjects = vec![self.tasks.namespace().task_subjects()];
        let config = jetstream::stream::Config { name: name.to_owned(), subjects, ..Default::default() };
        self.tasks.context().create_stream(config).await.expect("a stream");
    }

    /// The id of a request with this key.
    pub(crate) async fn id(&self, key: &str, scope: Option<&[u8; 32]>) -> ExchangeId {
        let secret = self.outcomes().await.secret().await.expect("a secret");
        secret.id(self.tasks.namespace(), &App::new(APP).expect("a name"), scope, key.as_bytes())
    }

    /// Creates the record that a gateway leaves if it dies.
    pub(crate) async fn leave_record(&self, key: &str, request: &Request<&'static str>) {
        let outcome = Outcome {
            digest: digest(request),
            scope: None,
            state: OutcomeState::Pending { published: false },
        };
        self.outcomes().await.create(self.id(key, None).await, &outcome).await.expect("a record");
    }

    /// Publishes the request as a gateway does before it dies: its response has no receiver.
    pub(crate) async fn leave_message(&self, key: &str, request: Request<&'static str>) {
        let id = self.id(key, None).await;
        let mut head = RequestHead::new(id);
        head.outcome = Some(Box::new(narun_core::frame::OutcomeRef {
            bucket: self.outcomes().await.bucket().to_owned(),
            digest: digest(&request),
            scope: None,
        }));
        let (parts, body) = request.into_parts();
        let frame = head
            .encode(&parts, Edit::default(), body.as_bytes(), None, &Limits::default())
            .expect("a REQUEST");
        let mut headers = HeaderMap::new();
        headers.insert(header::MESSAGE_ID, id.to_string());
        let subject = self.tasks.namespace().task_subject(&App::new(APP).expect("a name"));
        let published =
            self.tasks.context().publish_with_headers(subject, headers, frame).await.expect("sent");
        published.await.expect("stored");
    }
}

/// A consumer played by the test.
pub(crate) struct Consumer {
    messages: std::pin::Pin<Box<pull::Stream>>,
    outcomes: OutcomeStore,
    client: async_nats::Client,
}

/// A request from the stream.
pub(crate) struct Job {
    pub(crate) request: RequestFrame,
    /// The inbox that waits for the response.
    pub(crate) inbox: Option<Subject>,
    message: jetstream::Message,
    outcomes: OutcomeStore,
    client: async_nats::Client,
}

impl Consumer {
    /// The next request.
    pub(crate) async fn job(&mut self) -> Job {
        let message = soon("a job", self.messages.next()).await.expect("an open stream").expect("a message");
        let request = RequestFrame::decode(&message.payload, &Limits::default().stored()).expect("a REQUEST");
        let field = |name| message.headers.as_ref().and_then(|headers| headers.get(name));
        assert_eq!(field(header::MESSAGE_ID).map(|id| id.as_str()), Some(&*request.head.id.to_string()));
        let inbox = field(header::INBOX).map(|inbox| Subject::from(inbox.as_str()));
        let (outcomes, client) = (self.outcomes.clone(), self.client.clone());
        Job { request, inbox, message, outcomes, client }
    }
}

impl Job {
    pub(crate) const fn id(&self) -> ExchangeId {
        self.request.head.id
    }

    /// Stores the outcome, sends the response and acknowledges the request, like a consumer.
    pub(crate) async fn done(self, response: Response<Body>) {
        let frame = encode_response(response).await;
        self.store(frame.clone()).await;
        self.publish_response(frame).await;
        self.message.ack().await.expect("an ack sent");
    }

    /// The same for a response with 200 and this content.
    pub(crate) async fn ok(self, content: &'static str) {
        self.done(Response::new(Body::from(content))).await;
    }

    /// Stores these bytes as the response of the outcome.
    pub(crate) async fn store(&self, frame: Bytes) {
        if let Some(outcome) = &self.request.head.outcome {
            assert_eq!(outcome.bucket, self.outcomes.bucket());
            self.outcomes.done(self.id(), outcome, frame).await.expect("stored");
        }
    }

    async fn publish_response(&self, frame: Bytes) {
        if let Some(inbox) = self.inbox.clone() {
            self.client.publish(inbox, frame).await.expect("an response sent");
            self.client.flush().await.expect("an response sent");
        }
    }
}

/// A request with this key.
pub(crate) fn keyed(key: &str, target: &str, body: &'static str) -> Request<Body> {
    with(plain(target, body).map(Body::from), "idempotency-key", key)
}

/// A request with these preferences.
pub(crate) fn later(preferences: &str) -> Request<Body> {
    with(plain("/", "content").map(Body::from), "prefer", preferences)
}

pub(crate) fn plain(target: &str, body: &'static str) -> Request<&'static str> {
    Request::builder().method(Method::POST).uri(target).body(body).expect("a request")
}

/// The same request with one more field.
pub(crate) fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().append(name, value.parse().expect("a value"));
    request
}

/// The id at the end of the response's `Location`.
pub(crate) fn located(response: &HttpResponse) -> ExchangeId {
    let location = response.header("location").expect("a location");
    location.strip_prefix("/.narun/requests/").and_then(|id| id.parse().ok()).expect("an id")
}

fn digest(request: &Request<&'static str>) -> [u8; 32] {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    request_digest(request.method(), target, &body_digest(request.body().as_bytes()))
}
