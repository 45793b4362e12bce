use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use async_nats::Client;
use futures::future::BoxFuture;
use http::{Request, Response, request};
use narun_core::link::ReplyPolicy;
use narun_core::{App, Body, Namespace};
use tower_service::Service;
use tracing::Span;

use crate::error::{BoxError, ServeError};
use crate::run::run;
use crate::trace;

/// Serves `app` with `service` until it is shut down.
///
/// The returned future is to be awaited, or spawned; dropped, it stops at once: handlers are dropped, and gateways
/// that wait for them are told, for which a clone of the client must live on. Without [`Serve::with_graceful_shutdown`] it ends only with an error.
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
        },
    }
}

/// A consumer about to serve; made by [`serve`].
#[must_use = "a consumer does nothing until it is awaited"]
pub struct Serve<S> {
    service: S,
    settings: Settings,
}

/// All settings of a consumer but its service.
pub(crate) struct Settings {
    pub(crate) client: Client,
    pub(crate) app: String,
    pub(crate) namespace: String,
    pub(crate) concurrency: usize,
    pub(crate) queue: usize,
    pub(crate) instance: Option<String>,
    pub(crate) replies: ReplyPolicy,
    pub(crate) make_span: MakeSpan,
    pub(crate) on_ready: Option<Box<dyn FnOnce() + Send>>,
    pub(crate) shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pub(crate) shutdown_timeout: Duration,
}

/// Makes the span in which a request is handled.
pub(crate) type MakeSpan = Box<dyn Fn(&request::Parts, &App) -> Span + Send + Sync>;

impl<S> Serve<S> {
    /// The namespace of the app, which gateways share. Default `TASK`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.settings.namespace = namespace.into();
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

    /// Called once the server knows of this consumer, so that requests sent from now on find it: for readiness probes
    /// and tests. While there is no connection, that is later.
    pub fn on_ready(mut self, ready: impl FnOnce() + Send + 'static) -> Self {
        self.settings.on_ready = Some(Box::new(ready));
        self
    }

    /// Shuts down once `signal` completes: leaves the queue group, takes what was on the wire, waits for handlers up
    /// to [`Serve::shutdown_timeout`], and makes sure that the server has their responses.
    ///
    /// What is lost on the wire is measured in [the crate's documentation](crate#shutdown).
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.settings.shutdown = Some(Box::pin(signal));
        self
    }

    /// How long handlers are waited for at shutdown; the gateways of those that remain are told. Default 30 s.
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
