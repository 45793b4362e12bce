use std::fmt;
use std::future::IntoFuture;
use std::ops::RangeInclusive;
use std::time::Duration;

use async_nats::Client;
use futures::future::BoxFuture;
use http::{Request, Response, request};
use narun_core::{App, Body, Namespace};
use narun_nats::inbox::ReplyPolicy;
use narun_nats::jetstream::StreamSettings;
use tower_service::Service;
use tracing::Span;

use crate::error::{BoxError, ServeError};
use crate::run::run;
use crate::settings::{DurableSettings, Settings, StreamedSettings};
use crate::trace;

/// Serves `app` with `service` until it is shut down.
///
/// The returned future is to be awaited, or spawned; dropped, it stops at once: handlers are dropped, gateways that
/// wait for them are told, and durable requests are given back, for which a clone of the client must live on. Without [`Serve::with_graceful_shutdown`] it ends only with an error.
///
/// Any number of processes may serve an app; NATS gives each request to one of them.
///
/// ```no_run
/// # async fn example(nats: async_nats::Client) -> Result<(), narun_consumer::ServeError> {
/// use http::{Request, Response};
/// use narun_consumer::Body;
///
/// # #[derive(Clone)] struct Hello;
/// # impl tower_service::Service<Request<Body>> for Hello {
/// #     type Response = Response<Body>;
/// #     type Error = std::convert::Infallible;
/// #     type Future = std::future::Ready<Result<Self::Response, Self::Error>>;
/// #     fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
/// #         std::task::Poll::Ready(Ok(()))
/// #     }
/// #     fn call(&mut self, _: Request<Body>) -> Self::Future {
/// #         std::future::ready(Ok(Response::new(Body::from("hello"))))
/// #     }
/// # }
/// narun_consumer::serve(nats, "hello", Hello).concurrency(256).await
/// # }
/// ```
pub fn serve<S>(client: Client, app: impl Into<String>, service: S) -> Serve<S> {
    Serve {
        service,
        settings: Settings {
            client,
            app: app.into(),
            namespace: Namespace::default().as_str().to_owned(),
            concurrency: 1024,
            queue: 32,
            instance: None,
            replies: ReplyPolicy::default(),
            make_span: Box::new(trace::default_span),
            on_ready: None,
            shutdown: None,
            shutdown_timeout: Duration::from_secs(30),
            from_stream: false,
            durable: DurableSettings::default(),
            streams: StreamedSettings::default(),
        },
    }
}

/// A consumer about to serve; made by [`serve`].
#[must_use = "a consumer does nothing until it is awaited"]
pub struct Serve<S> {
    service: S,
    settings: Settings,
}

impl<S> Serve<S> {
    /// The namespace of the app, which gateways share. Default `TASK`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.settings.namespace = namespace.into();
        self
    }

    /// Serves durable requests too: those that gateways put into the stream of this name, which is the namespace's.
    /// Default: direct requests only.
    ///
    /// What becomes of them is told in [the crate's documentation](crate#durable-requests). The stream, that of dead
    /// letters and the app's consumer are declared when missing; while JetStream cannot be reached, direct requests
    /// are served alone.
    pub fn stream(mut self, namespace: impl Into<String>) -> Self {
        self.settings.from_stream = true;
        self.namespace(namespace)
    }

    /// How the streams and buckets of the namespace are declared when they are missing, and what they are checked
    /// for. Default: [`StreamSettings::new`].
    pub fn stream_settings(mut self, settings: StreamSettings) -> Self {
        self.settings.durable.stream = settings;
        self
    }

    /// Durable requests: after what time without a word of its consumer a request is given to another one. While a
    /// handler runs, a third of it passes between two words. Default 5 s; at least 100 ms. Counts for the first
    /// consumer of an app, which declares it.
    pub const fn ack_wait(mut self, wait: Duration) -> Self {
        self.settings.durable.ack_wait = wait;
        self
    }

    /// Durable requests: after how many deliveries a request is given up and becomes a dead letter. Default 5; at
    /// least 1. What was given back at a shutdown or lost with its consumer counts as well.
    pub const fn max_deliveries(mut self, deliveries: u64) -> Self {
        self.settings.durable.max_deliveries = deliveries;
        self
    }

    /// Durable requests: how long after a failure a request is delivered again: the first value at first, twice as
    /// long each further time, but never more than the second. Default 1 s to 60 s.
    pub const fn redelivery_delay(mut self, delay: RangeInclusive<Duration>) -> Self {
        self.settings.durable.redelivery_delay = delay;
        self
    }

    /// Durable requests: whether a response with status 500 or more is a failed delivery rather than the answer.
    /// Default false.
    pub const fn retry_server_errors(mut self, retry: bool) -> Self {
        self.settings.durable.retry_server_errors = retry;
        self
    }

    /// Durable requests: how long a handler may take, its response's body included, before it is dropped, which is a
    /// failed delivery. Default: as long as it likes.
    pub const fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.settings.durable.handler_timeout = Some(timeout);
        self
    }

    /// How many durable requests are taken out of the stream and not answered yet, apart from direct ones. Default:
    /// as [`Serve::concurrency`]; at least 1.
    pub const fn durable_concurrency(mut self, requests: usize) -> Self {
        self.settings.durable.concurrency = Some(requests);
        self
    }

    /// How many requests are in handlers at once, until their response's body has ended. Default 1024; at least 1.
    pub const fn concurrency(mut self, requests: usize) -> Self {
        self.settings.concurrency = requests;
        self
    }

    /// How many more wait for that before others are refused, which the gateway then sends to another consumer.
    /// Default 32.
    pub const fn queue(mut self, requests: usize) -> Self {
        self.settings.queue = requests;
        self
    }

    /// How many bytes of a request's body may be on their way or wait to be read, and how large a part of a response's
    /// body is sent at once: a quarter of it, if that is less than 32 KiB. Default 1 MiB; 64 KiB to 16 MiB.
    ///
    /// One exchange moves a window in each round trip between gateway and consumer, at the most.
    pub const fn window(mut self, bytes: u64) -> Self {
        self.settings.streams.window = bytes;
        self
    }

    /// How many bytes of all requests' bodies may be on their way or wait to be read. Default 48 MiB; at least a
    /// window.
    ///
    /// nats-server closes a connection that has more than its `max_pending` (64 MB) waiting for it, and with that all
    /// exchanges on it. Near the budget windows shrink to 64 KiB, and in its last quarter to 1 KiB.
    pub const fn budget(mut self, bytes: u64) -> Self {
        self.settings.streams.budget = bytes;
        self
    }

    /// A name of this process in what it sends, for people who look for the one that answered. Default none.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.settings.instance = Some(name.into());
        self
    }

    /// The prefixes below which gateways have their inboxes; nothing is published to a reply subject outside them.
    /// Default `_INBOX`, that of NATS clients.
    pub fn inbox_prefixes(mut self, prefixes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.replies = ReplyPolicy::new(prefixes);
        self
    }

    /// Makes the span in which a request is handled. Default: a span `http.consumer` at level info with
    /// OpenTelemetry's names, and `trace_id` and `parent_id` from the request's `traceparent` (W3C Trace Context).
    ///
    /// With tracing-opentelemetry, set the parent here.
    pub fn make_span(mut self, make: impl Fn(&request::Parts, &App) -> Span + Send + Sync + 'static) -> Self {
        self.settings.make_span = Box::new(make);
        self
    }

    /// Called once the server knows of this consumer, so that requests sent from now on find it, and with
    /// [`Serve::stream`] once durable requests are asked for: for readiness probes and tests. While there is no
    /// connection, that is later.
    pub fn on_ready(mut self, ready: impl FnOnce() + Send + 'static) -> Self {
        self.settings.on_ready = Some(Box::new(ready));
        self
    }

    /// Shuts down once `signal` completes: leaves the queue group, takes what was on the wire, gives back what comes
    /// out of the stream, waits for handlers up to [`Serve::shutdown_timeout`], and makes sure that the server has
    /// their responses.
    ///
    /// What is lost on the wire is measured in [the crate's documentation](crate#shutdown).
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.settings.shutdown = Some(Box::pin(signal));
        self
    }

    /// How long handlers are waited for at shutdown; the gateways of those that remain are told, and durable requests
    /// are given back. Default 30 s.
    pub const fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.settings.shutdown_timeout = timeout;
        self
    }
}

impl<S, B> IntoFuture for Serve<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<(), ServeError>;
    type IntoFuture = BoxFuture<'static, Result<(), ServeError>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self.service, self.settings))
    }
}

impl<S> fmt::Debug for Serve<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("namespace", &self.settings.namespace)
            .field("app", &self.settings.app)
            .field("concurrency", &self.settings.concurrency)
            .field("queue", &self.settings.queue)
            .finish_non_exhaustive()
    }
}
