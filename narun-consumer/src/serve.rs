use std::fmt;
use std::future::IntoFuture;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, request};
use narun_core::{App, Body};
use narun_nats::NatsClient;
use narun_nats::inbox::ReplyPolicy;
use narun_nats::jetstream::StreamSettings;
use tower_service::Service;
use tracing::Span;

use crate::error::{BoxError, ServeError};
use crate::run::run;
use crate::settings::Settings;

/// Serves the requests of `app` with `service`.
///
/// Await or spawn the returned future. It completes after the signal of [`Serve::with_graceful_shutdown`], or with an
/// error. When it is dropped, the consumer stops at once: handlers are dropped, the gateways that wait for them are
/// notified, and durable requests are given back. For that, a clone of the client must stay alive.
///
/// Any number of processes may serve an app: NATS gives each request to one of them.
///
/// `nats` is what [`NatsAccess::connect`](crate::NatsAccess::connect) or [`NatsClient::connect`] returns. A client of
/// async-nats works too, but tells nobody which permissions its user lacks: then fewer of them are [found at the
/// start](crate::permissions#when-a-permission-is-missing).
///
/// ```no_run
/// # async fn example(nats: narun_consumer::NatsClient) -> Result<(), narun_consumer::ServeError> {
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
pub fn serve<S>(nats: impl Into<NatsClient>, app: impl Into<String>, service: S) -> Serve<S> {
    Serve { service, settings: Settings::new(nats.into(), app.into()) }
}

/// A consumer that has not started yet; made by [`serve`].
#[must_use = "a consumer does nothing until it is awaited"]
pub struct Serve<S> {
    service: S,
    settings: Settings,
}

impl<S> Serve<S> {
    /// Sets the namespace of the app, which must be that of its gateways. Default `TASK`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.settings.namespace = namespace.into();
        self
    }

    /// Serves durable requests too, from the stream with this name. Default: direct requests only.
    ///
    /// The name of the stream is that of the namespace, so this sets [`Serve::namespace`] as well. The stream, the
    /// stream of dead letters and the app's consumer are declared if they are missing. While JetStream is unavailable,
    /// only direct requests are served; at the start, for [`Serve::start_timeout`]. See [`durable_requests`](crate::durable_requests).
    pub fn stream(mut self, namespace: impl Into<String>) -> Self {
        self.settings.from_stream = true;
        self.namespace(namespace)
    }

    /// Sets how the streams and buckets of the namespace are declared if they are missing. Existing ones are compared
    /// with these settings. Default: [`StreamSettings::new`].
    pub fn stream_settings(mut self, settings: StreamSettings) -> Self {
        self.settings.durable.stream = settings;
        self
    }

    /// Durable requests: sets the time without a progress ack after which a request is delivered to another consumer.
    /// Default 5 s; at least 100 ms.
    ///
    /// While a handler runs, a progress ack is sent every third of this time. The first consumer of an app declares
    /// the ack wait; on later ones the setting has no effect.
    pub const fn ack_wait(mut self, wait: Duration) -> Self {
        self.settings.durable.ack_wait = wait;
        self
    }

    /// Durable requests: sets the number of deliveries after which a request becomes a dead letter. Default 5; at
    /// least 1.
    ///
    /// Deliveries that ended with a shutdown or with the consumer's process count as well.
    pub const fn max_deliveries(mut self, deliveries: u64) -> Self {
        self.settings.durable.max_deliveries = deliveries;
        self
    }

    /// Durable requests: sets the delay between a failed delivery and the next one. Default 1 s to 60 s.
    ///
    /// The delay starts with the first value and doubles with each delivery, up to the second value.
    pub const fn redelivery_delay(mut self, delay: RangeInclusive<Duration>) -> Self {
        self.settings.durable.redelivery_delay = delay;
        self
    }

    /// Durable requests: sets whether a response with status 500 or more is a failed delivery. Default false: it is
    /// the response.
    pub const fn retry_server_errors(mut self, retry: bool) -> Self {
        self.settings.durable.retry_server_errors = retry;
        self
    }

    /// Durable requests: sets how long a handler may take, including its response's body. Default: no limit.
    ///
    /// A handler that times out is dropped, and its delivery has failed.
    pub const fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.settings.durable.handler_timeout = Some(timeout);
        self
    }

    /// Sets how many durable requests are taken from the stream at the same time. Default: the value of
    /// [`Serve::concurrency`]; at least 1.
    ///
    /// Durable and direct requests are counted separately.
    pub const fn durable_concurrency(mut self, requests: usize) -> Self {
        self.settings.durable.concurrency = Some(requests);
        self
    }

    /// Durable requests: sets the most bytes of a body that does not fit a message. Default 64 MiB.
    ///
    /// A request with a longer body is not handled: it becomes a dead letter, and its client gets 413. The gateway's
    /// limit is that of its route, 10 MiB by default.
    pub const fn durable_max_body(mut self, bytes: u64) -> Self {
        self.settings.durable.max_body = bytes;
        self
    }

    /// Sets how many direct requests are handled at the same time. Default 1024; at least 1.
    ///
    /// A request counts until its response's body has ended.
    pub const fn concurrency(mut self, requests: usize) -> Self {
        self.settings.concurrency = requests;
        self
    }

    /// Sets how many direct requests may wait for a free slot. Default 32.
    ///
    /// Further requests are refused, and their gateways send them to another consumer.
    pub const fn queue(mut self, requests: usize) -> Self {
        self.settings.queue = requests;
        self
    }

    /// Sets how many bytes of one request's body may be in flight or unread. Default 1 MiB; 64 KiB to 16 MiB.
    ///
    /// An exchange transfers at most one window per round trip between gateway and consumer. Parts of a response's
    /// body are at most a quarter of the window, if that is less than 32 KiB.
    pub const fn window(mut self, bytes: u64) -> Self {
        self.settings.bodies.window = bytes;
        self
    }

    /// Sets how many bytes of all requests' bodies together may be in flight or unread. Default 48 MiB; at least one
    /// window.
    ///
    /// nats-server closes a connection with more than `max_pending` (64 MB) pending bytes, which ends all exchanges on
    /// it. When the budget runs low, windows shrink to 64 KiB, and in its last quarter to 1 KiB.
    pub const fn budget(mut self, bytes: u64) -> Self {
        self.settings.bodies.budget = bytes;
        self
    }

    /// Sets how long a gateway may be absent before its requests are dropped, after a message to it first met "no
    /// responders" and after the own connection was restored: the gateway may connect later. Default 5 s.
    ///
    /// Meanwhile handlers go on, and responses are sent again until the gateway has received them.
    pub const fn reconnect_grace(mut self, grace: Duration) -> Self {
        self.settings.reconnect_grace = grace;
        self
    }

    /// Sets how long to wait at the start, with a connection, until messages arrive. Default 10 s.
    ///
    /// After it, `serve` fails: with [`ServeError::NotPermitted`] if nothing arrives in the inbox, with
    /// [`ServeError::Stream`] if durable requests cannot be pulled, because JetStream is turned off for example. If a request
    /// has arrived by then, it warns instead and waits on, so that handlers are not dropped.
    pub const fn start_timeout(mut self, timeout: Duration) -> Self {
        self.settings.start_timeout = timeout;
        self
    }

    /// Sets a name for this process, which its responses carry for debugging. Default: no name.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.settings.instance = Some(name.into());
        self
    }

    /// Sets the prefixes of the gateways' inboxes. Default `_INBOX`, that of NATS clients.
    ///
    /// Nothing is published to a reply subject outside these prefixes.
    pub fn inbox_prefixes(mut self, prefixes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.replies = ReplyPolicy::new(prefixes);
        self
    }

    /// Sets the function that makes the span of each request.
    ///
    /// Default: a span `http.consumer` at level info with OpenTelemetry's names, and `trace_id` and `parent_id` from
    /// the request's `traceparent` field (W3C Trace Context). With tracing-opentelemetry, set the parent here.
    pub fn make_span(mut self, make: impl Fn(&request::Parts, &App) -> Span + Send + Sync + 'static) -> Self {
        self.settings.make_span = Box::new(make);
        self
    }

    /// Sets a function that is called once the server has this consumer's subscriptions, so that it receives every
    /// request sent from then on. For readiness probes and tests.
    ///
    /// With [`Serve::stream`], it is called once durable requests are pulled as well. While there is no connection to
    /// the server, the call waits.
    pub fn on_ready(mut self, ready: impl FnOnce() + Send + 'static) -> Self {
        self.settings.on_ready = Some(Box::new(ready));
        self
    }

    /// Shuts down once `signal` completes.
    ///
    /// The consumer leaves its queue group, handles the requests that were already on their way, gives back durable
    /// requests that still arrive, waits for handlers up to [`Serve::shutdown_timeout`], and waits until the server
    /// has their responses. How many requests this loses is measured in [the crate's documentation](crate#shutdown).
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.settings.shutdown = Some(Box::pin(signal));
        self
    }

    /// Sets how long a shutdown waits for handlers. Default 30 s.
    ///
    /// Handlers that have not finished by then are dropped: their gateways are notified, and durable requests are
    /// given back.
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
