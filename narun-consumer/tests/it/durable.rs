//! Durable requests, which the tests publish to the stream as gateways do.

mod bodies;
mod buckets;
mod dead_letters;
mod failures;
mod full;
mod joined;
mod refusals;
mod responses;
mod slots;
mod stopping;
mod trouble;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::message::PublishMessage;
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use narun_consumer::{Body, BoxError, DeadLetter, DeadLetters, Delivery, Received, Serve, ServeError, serve};
use narun_core::frame::{RequestHead, ResponseFrame};
use narun_core::{App, ExchangeId, Limits, Namespace};
use narun_nats::jetstream::StreamSettings;
use narun_nats::jetstream::{TaskStreams, header};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::Service;

use crate::gateway::encode;
use crate::harness::{connect, eventually, new_app, soon};

/// A namespace for one test, with one app.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: Namespace,
    pub(crate) app: App,
    pub(crate) tasks: TaskStreams,
}

/// A request that was published to the stream.
pub(crate) struct SentRequest {
    pub(crate) id: ExchangeId,
    inbox: Subscriber,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(connect().await)
    }

    pub(crate) fn over(client: Client) -> Self {
        let name = new_app();
        let namespace = Namespace::new(format!("NS-{name}")).expect("a name");
        let tasks = TaskStreams::new(client.clone(), namespace.clone(), StreamSettings::new());
        Self { client, namespace, app: App::new(name).expect("a name"), tasks }
    }

    /// A consumer with short redelivery delays and its own connection.
    pub(crate) async fn serve<S>(&self, service: S) -> Serve<S> {
        self.serve_over(connect().await, service)
    }

    pub(crate) fn serve_over<S>(&self, client: Client, service: S) -> Serve<S> {
        serve(client, self.app.as_str(), service)
            .stream(self.namespace.as_str())
            .redelivery_delay(Duration::from_millis(1)..=Duration::from_millis(20))
    }

    /// Publishes a plain request to the stream.
    pub(crate) async fn ask(&self, target: &str) -> SentRequest {
        self.send(new_head(), target, &[]).await
    }

    pub(crate) async fn send(
        &self,
        head: RequestHead,
        target: &str,
        headers: &[(&str, &str)],
    ) -> SentRequest {
        let request = Request::post(target).body(Body::from("body of it")).expect("a request");
        self.send_request(head, request, headers).await
    }

    pub(crate) async fn send_request(
        &self,
        head: RequestHead,
        request: Request<Body>,
        headers: &[(&str, &str)],
    ) -> SentRequest {
        let id = head.id;
        let inbox = self.client.new_inbox();
        let subscriber = self.client.subscribe(inbox.clone()).await.expect("a subscription");
        let mut all = vec![(header::INBOX, inbox.as_str())];
        all.retain(|(name, _)| headers.iter().all(|(other, _)| other != name));
        all.extend(headers);
        self.publish(&id.to_string(), encode(&head, request).await, &all).await;
        SentRequest { id, inbox: subscriber }
    }

    /// Publishes any message to the stream.
    pub(crate) async fn publish(&self, id: &str, payload: Bytes, headers: &[(&str, &str)]) {
        self.tasks.declare_stream().await.expect("a stream");
        let message = PublishMessage::build()
            .payload(payload)
            .message_id(id)
            .expected_stream(self.namespace.task_stream());
        let message = headers.iter().fold(message, |message, (name, value)| message.header(*name, *value));
        let stored = self.tasks.context().send_publish(self.namespace.task_subject(&self.app), message).await;
        stored.expect("a message sent").await.expect("a message stored");
    }

    /// The number of requests in the stream, including those that were delivered and not acked.
    pub(crate) async fn kept(&self) -> u64 {
        let stream = self.tasks.context().get_stream(self.namespace.task_stream()).await.expect("a stream");
        stream.cached_info().state.messages
    }

    /// Waits until the stream is empty.
    pub(crate) async fn is_done(&self) {
        eventually("an empty stream", async || self.kept().await == 0).await;
    }

    pub(crate) fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(self.client.clone(), self.namespace.as_str()).expect("a name")
    }

    /// Waits until the stream is empty, and returns the dead letters.
    pub(crate) async fn dead(&self) -> Vec<DeadLetter> {
        self.is_done().await;
        self.dead_letters().list(Some(self.app.as_str()), 0, 100).await.expect("a list")
    }

    /// The consumer of the stream, for tests that pull messages themselves.
    pub(crate) async fn consumer(&self, ack_wait: Duration) -> PullConsumer {
        self.tasks.declare_stream().await.expect("a stream");
        self.tasks.declare_consumer(&self.app, ack_wait).await.expect("a consumer");
        let stream = self.tasks.context().get_stream(self.namespace.task_stream()).await.expect("a stream");
        stream.get_consumer(self.app.as_str()).await.expect("a consumer")
    }
}

/// Pulls a message and naks it, like a process that ends before its ack.
pub(crate) async fn take_and_give_back(consumer: &PullConsumer) {
    let pull = consumer.batch().max_messages(1).expires(Duration::from_secs(5));
    let mut messages = pull.messages().await.expect("a pull");
    let message = soon("a message", messages.next()).await.expect("a message").expect("a message");
    message.ack_with(AckKind::Nak(None)).await.expect("a nak sent");
}

impl SentRequest {
    /// Waits for the response.
    pub(crate) async fn response(&mut self) -> ResponseFrame {
        let message = soon("a response", self.inbox.next()).await.expect("an open subscription");
        ResponseFrame::decode(&message.payload, &Limits::default().stored()).expect("a RESPONSE")
    }

    pub(crate) async fn status(&mut self) -> StatusCode {
        self.response().await.parts.status
    }

    /// Whether no response has arrived so far.
    pub(crate) fn has_no_response(&mut self) -> bool {
        futures::FutureExt::now_or_never(self.inbox.next()).is_none()
    }
}

/// Starts a consumer, and waits until it pulls durable requests.
pub(crate) async fn start<S, B>(serve: Serve<S>) -> JoinHandle<Result<(), ServeError>>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (ready, is_ready) = oneshot::channel();
    let on_ready = move || {
        let _ = ready.send(());
    };
    let task = tokio::spawn(serve.on_ready(on_ready).into_future());
    soon("a consumer", is_ready).await.expect("a consumer that is ready");
    task
}

/// A request head with a unique id.
pub(crate) fn new_head() -> RequestHead {
    static IDS: AtomicUsize = AtomicUsize::new(1);
    let number = IDS.fetch_add(1, Ordering::Relaxed) as u128;
    RequestHead::new(ExchangeId::from_bytes(number.to_be_bytes()))
}

/// A service that does what the target says, and records its requests.
#[derive(Clone, Default)]
pub(crate) struct Handler {
    seen: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Handler {
    /// The target and delivery count of each request.
    pub(crate) fn seen(&self) -> Vec<(String, u64)> {
        self.seen.lock().expect("no panic").clone()
    }

    pub(crate) fn runs(&self) -> usize {
        self.seen().len()
    }

    async fn handle(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let received = request.extensions().get::<Received>().expect("Received").clone();
        let count = match received.delivery() {
            Delivery::Durable { count, .. } => count,
            _ => 0,
        };
        let target = request.uri().path().to_owned();
        self.seen.lock().expect("no panic").push((target.clone(), count));
        match target.as_str() {
            "/panic-once" if count == 1 => panic!("on purpose"),
            "/error-once" if count == 1 => Err("no".into()),
            "/503-once" if count == 1 => status(StatusCode::SERVICE_UNAVAILABLE),
            "/503" => status(StatusCode::SERVICE_UNAVAILABLE),
            "/never-once" if count == 1 => std::future::pending().await,
            "/panic" => panic!("on purpose"),
            "/error" => Err("not\r\ntoday".into()),
            "/large" => Ok(Response::new(Body::from(Bytes::from(vec![0; 1024 * 1024])))),
            "/echo" => Ok(Response::new(request.into_body())),
            _ => Ok(Response::new(Body::from(target))),
        }
    }
}

fn status(status: StatusCode) -> Result<Response<Body>, BoxError> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Ok(response)
}

impl Service<Request<Body>> for Handler {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = futures::future::BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().handle(request))
    }
}

/// A service whose handlers wait at a gate.
pub(crate) fn through(
    gate: &crate::gate::Gate,
) -> impl Service<
    Request<Body>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<>,
> + Clone
+ Send
+ use<> {
    let gate = gate.clone();
    tower::service_fn(move |request| gate.clone().handle(request))
}
