use std::time::Duration;

use async_nats::Subject;
use http::{HeaderMap, request};
use narun_core::exchange::CallerConfig;
use narun_core::{App, Namespace};

use super::Route;
use super::error::RouteError;
use super::table::RouteTable;
use crate::grpc;
use crate::metrics::RouteMetrics;

/// The longest timeout: ten years, which no clock overflows.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long a gRPC call without `grpc-timeout` may hear nothing from its consumer before the response's head. A consumer
/// sends WORKING every 5 s.
const GRPC_IDLE: Duration = Duration::from_secs(30);

/// How many bytes of a gRPC response may follow its head without credit, so that a response stream begins without a round
/// trip.
const GRPC_CREDIT: u64 = 16 * 1024;

/// The default of [`Route::max_body`] for durable routes.
const MAX_DURABLE_BODY: u64 = 10 * 1024 * 1024;

/// A route with everything that its requests need prepared.
#[derive(Debug)]
pub(crate) struct CompiledRoute {
    app: App,
    subject: Subject,
    template: String,
    timeout: Duration,
    total_timeout: Option<Duration>,
    max_body: usize,
    grpc: Option<GrpcRoute>,
    durable: Option<DurableRoute>,
    metrics: RouteMetrics,
}

/// What only a durable route has.
#[derive(Debug)]
pub(crate) struct DurableRoute {
    pub(crate) respond_async: bool,
    pub(crate) expiry: Option<Duration>,
}

/// What only the direct route of a gRPC service has.
#[derive(Debug)]
struct GrpcRoute {
    /// The limit to the response's head for calls without `grpc-timeout`.
    timeout: Option<Duration>,
}

/// What the durable routes of a table need in JetStream beside their stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurableNeeds {
    /// Whether a route needs the bucket of outcomes.
    pub(crate) outcomes: bool,
}

impl RouteTable<CompiledRoute> {
    /// Compiles the routes of apps in this namespace. `timeout` is that of routes without one.
    pub(crate) fn compile(
        routes: impl IntoIterator<Item = Route>,
        namespace: &Namespace,
        timeout: Duration,
    ) -> Result<Self, RouteError> {
        Self::new(routes, |route| Ok(CompiledRoute::new(route, route.app_name()?, namespace, timeout)))
    }

    /// Returns whether a route is direct.
    pub(crate) fn has_direct(&self) -> bool {
        self.iter().any(|route| route.durable().is_none())
    }

    /// Returns `None` if no route is durable.
    pub(crate) fn durable_needs(&self) -> Option<DurableNeeds> {
        let durable = self.iter().filter_map(|route| route.durable());
        durable.fold(None, |needs: Option<DurableNeeds>, route| {
            let outcomes = needs.is_some_and(|needs| needs.outcomes) || route.respond_async;
            Some(DurableNeeds { outcomes })
        })
    }
}

impl CompiledRoute {
    fn new(route: &Route, app: App, namespace: &Namespace, timeout: Duration) -> Self {
        let durable = route
            .durable
            .then_some(DurableRoute { respond_async: route.respond_async, expiry: route.expiry });
        let subject = match durable {
            Some(_) => namespace.task_subject(&app),
            None => namespace.call_subject(&app),
        };
        let grpc = (route.grpc && durable.is_none()).then_some(GrpcRoute { timeout: route.timeout });
        let max_body = route.max_body.or(durable.as_ref().map(|_| MAX_DURABLE_BODY));
        Self {
            metrics: RouteMetrics::new(route.path(), &subject),
            app,
            subject: subject.into(),
            template: route.path().to_owned(),
            timeout: route.timeout.unwrap_or(timeout).min(MAX_TIMEOUT),
            total_timeout: route.total_timeout.map(|timeout| timeout.min(MAX_TIMEOUT)),
            max_body: max_body.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            grpc,
            durable,
        }
    }

    pub(crate) const fn app(&self) -> &App {
        &self.app
    }

    pub(crate) const fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(crate) const fn template(&self) -> &str {
        self.template.as_str()
    }

    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How long a durable request waits for its response.
    pub(crate) fn wait(&self) -> Duration {
        self.total_timeout.map_or(self.timeout, |total| total.min(self.timeout))
    }

    /// Returns `None` if the route is direct.
    pub(crate) const fn durable(&self) -> Option<&DurableRoute> {
        self.durable.as_ref()
    }

    pub(crate) const fn max_body(&self) -> usize {
        self.max_body
    }

    pub(crate) const fn metrics(&self) -> &RouteMetrics {
        &self.metrics
    }

    /// How long a request with these fields may take until the end of its response.
    pub(crate) fn total_timeout(&self, fields: &HeaderMap) -> Option<Duration> {
        self.total_timeout_with(grpc::timeout(fields))
    }

    fn total_timeout_with(&self, grpc_timeout: Option<Duration>) -> Option<Duration> {
        let limits = [self.total_timeout, grpc_timeout];
        limits.into_iter().flatten().min().map(|timeout| timeout.min(MAX_TIMEOUT))
    }

    /// The configuration of the exchange of a request that came in `elapsed` ago.
    pub(crate) fn caller_config(&self, parts: &request::Parts, elapsed: Duration) -> CallerConfig {
        let grpc_timeout = grpc::timeout(&parts.headers);
        let total_timeout = self.total_timeout_with(grpc_timeout);
        let mut config = CallerConfig::default();
        config.idempotent = parts.method.is_idempotent();
        config.head_timeout = self.timeout;
        config.total_timeout = total_timeout.map(|total| total.saturating_sub(elapsed));
        let Some(GrpcRoute { timeout }) = self.grpc else { return config };
        let head_timeout = timeout.filter(|_| grpc_timeout.is_none());
        config.head_timeout = head_timeout.unwrap_or(MAX_TIMEOUT).min(MAX_TIMEOUT);
        config.idle = head_timeout.is_none().then_some(GRPC_IDLE);
        config.credit = GRPC_CREDIT;
        config
    }
}
