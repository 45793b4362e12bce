//! A consumer of durable requests played by the test.

use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::RetentionPolicy;
use async_nats::jetstream::{AckKind, Context, Message, stream};
use async_nats::{Client, HeaderMap};
use futures::{FutureExt, StreamExt};
use http::Response;
use narun_core::frame::RequestFrame;
use narun_core::{App, Body, Limits, Namespace};
use narun_gateway::{Gateway, GatewayBuilder, Route};
use narun_nats::jetstream::{StreamSettings, TaskStreams, header};

use crate::consumer::encode_response;
use crate::harness::{connect, new_app, new_namespace, settle, soon};

/// A consumer of one app's durable requests.
pub(crate) struct Worker {
    context: Context,
    namespace: Namespace,
    app: String,
    messages: pull::Stream,
}

/// A durable request that it has received.
pub(crate) struct Job {
    pub(crate) request: RequestFrame,
    message: Message,
}

/// A gateway with one durable route for everything, and the worker of its app.
pub(crate) async fn durable_pair() -> (Gateway, Worker) {
    durable_pair_with(|route| route, |builder| builder).await
}

/// The same with another route and other settings.
pub(crate) async fn durable_pair_with(
    set_route: impl FnOnce(Route) -> Route,
    set: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
) -> (Gateway, Worker) {
    let (namespace, app) = (new_namespace(), new_app());
    let builder = set(durable_builder(connect().await, &namespace)).route(set_route(durable_route(&app)));
    let gateway = builder.build().await.expect("a gateway");
    (gateway, Worker::start(connect().await, &namespace, &app).await)
}

pub(crate) fn durable_builder(client: Client, namespace: &Namespace) -> GatewayBuilder {
    Gateway::builder(client).namespace(namespace.clone())
}

/// A durable route for everything.
pub(crate) fn durable_route(app: &str) -> Route {
    Route::any("/", app).prefix().durable()
}

impl Worker {
    /// A worker of an app in a namespace with a stream.
    pub(crate) async fn start(client: Client, namespace: &Namespace, app: &str) -> Self {
        let context = async_nats::jetstream::new(client);
        let config = pull::Config {
            durable_name: Some(app.to_owned()),
            filter_subject: namespace.task_subject(&App::new(app).expect("a name")),
            ..pull::Config::default()
        };
        let stream = context.get_stream(namespace.task_stream()).await.expect("a stream");
        let consumer: Consumer<pull::Config> = stream.create_consumer(config).await.expect("a consumer");
        let messages = consumer.messages().await.expect("a subscription");
        Self { context, namespace: namespace.clone(), app: app.to_owned(), messages }
    }

    pub(crate) const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn app(&self) -> &str {
        &self.app
    }

    /// The next request.
    pub(crate) async fn job(&mut self) -> Job {
        let message = soon("a durable request", self.messages.next()).await.expect("an open subscription");
        Job::new(message.expect("a message"))
    }

    /// The next request. Returns `None` if there is none yet.
    pub(crate) async fn waiting_job(&mut self) -> Option<Job> {
        settle(&self.context.client()).await;
        let message = self.messages.next().now_or_never()?.expect("an open subscription");
        Some(Job::new(message.expect("a message")))
    }

    /// How many messages are in a stream. Returns `None` if the stream does not exist.
    pub(crate) async fn messages_in(&self, stream: &str) -> Option<u64> {
        let mut stream = self.context.get_stream(stream).await.ok()?;
        Some(stream.info().await.expect("information").state.messages)
    }

    /// How many requests are stored.
    pub(crate) async fn stored(&self) -> Option<u64> {
        self.messages_in(self.namespace.task_stream()).await
    }

    /// How many chunks of bodies are stored.
    pub(crate) async fn stored_bodies(&self) -> Option<u64> {
        self.messages_in(&format!("OBJ_{}", self.namespace.bodies_bucket())).await
    }

    pub(crate) async fn delete_stream(&self) {
        self.context.delete_stream(self.namespace.task_stream()).await.expect("a stream deleted");
    }

    /// Creates the stream of requests anew, with this retention and limit of a message's size.
    pub(crate) async fn replace_stream(&self, retention: RetentionPolicy, max_message_size: i32) {
        self.delete_stream().await;
        let (name, subjects) = (self.namespace.to_string(), vec![self.namespace.task_subjects()]);
        let config =
            stream::Config { name, subjects, retention, max_message_size, ..stream::Config::default() };
        self.create_stream(config).await;
    }

    pub(crate) async fn delete_bodies(&self) {
        let stream = format!("OBJ_{}", self.namespace.bodies_bucket());
        self.context.delete_stream(stream).await.expect("a stream deleted");
    }

    pub(crate) async fn create_stream(&self, config: stream::Config) {
        self.context.create_stream(config).await.expect("a stream");
    }
}

impl Job {
    fn new(message: Message) -> Self {
        let request = RequestFrame::decode(&message.payload, &Limits::default().stored()).expect("a REQUEST");
        Self { request, message }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.message.headers.as_ref().expect("headers")
    }

    /// The value of a NATS header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name).map(|value| value.as_str())
    }

    pub(crate) fn id(&self) -> String {
        self.request.head.id.to_string()
    }

    pub(crate) async fn ack(&self) {
        self.message.ack_with(AckKind::Ack).await.expect("an ack");
    }

    /// Publishes the response, if a gateway waits for it, and acknowledges the request.
    pub(crate) async fn respond(&self, response: Response<Body>) {
        if let Some(inbox) = self.header(header::INBOX) {
            let frame = encode_response(response).await;
            self.message.context.client().publish(inbox.to_owned(), frame).await.expect("an response");
        }
        self.ack().await;
    }

    /// Deletes the body, as consumers do.
    pub(crate) async fn delete_body(&self) {
        let object = self.request.head.object.as_ref().expect("a stored body");
        let (client, namespace) = (self.message.context.client(), object.bucket.strip_suffix("-bodies"));
        let namespace = Namespace::new(namespace.expect("a bucket of bodies")).expect("a namespace");
        let bodies = TaskStreams::new(client, namespace, StreamSettings::new()).bodies().await;
        bodies.expect("a bucket").delete(object).await.expect("a body deleted");
    }

    /// Responds with 200 and this content.
    pub(crate) async fn ok(&self, content: &'static str) {
        self.respond(Response::new(Body::from(content))).await;
    }
}
