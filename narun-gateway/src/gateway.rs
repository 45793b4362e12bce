use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_nats::{Client, Subject};
use http::{HeaderMap, Response, request};
use narun_core::exchange::{Budget, CallerConfig, FlowConfig};
use narun_core::frame::RequestHead;
use narun_core::{App, Body, ExchangeId, Failure, FailureContext, Limits, Namespace};
use narun_nats::inbox::{Endpoint, ReplyPolicy};
use narun_nats::jetstream::StreamSettings;
use narun_nats::jetstream::caller_scope;
use narun_nats::{Link, NatsEndpoint, NatsLink};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::forward::fields::FieldChanges;
use crate::forward::{ForwardedPolicy, PeerHook};
use crate::grpc;
use crate::idempotency::CallerHook;
use crate::jetstream::Store;
use crate::metrics::{self, RouteMetrics};
use crate::route::{Route, RouteError, RouteTable};
use crate::service::NotFound;
use crate::status::StatusPaths;
use crate::{BuildError, GatewayBuilder, GatewayLayer, GatewayService, RespondToFailure};

/// A gateway: routes, and the connection over which their requests go.
///
/// Cheap to clone; all clones, and the layers and services made of it, are the same gateway. It ends when the last
/// of them is dropped; requests under way are then without an answer, so stop the HTTP server first, and then [shut down](Self::shutdown).
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Arc<NatsEndpoint>,
    table: ArcSwap<RouteTable<RouteEntry>>,
    store: Store,
    settings: Settings,
    status: StatusPaths,
    closed: watch::Receiver<bool>,
    /// How bodies are streamed over the connection as it is now.
    flow: ArcSwap<FlowConfig>,
    /// The tasks of exchanges whose bodies are streamed.
    streams: Mutex<JoinSet<()>>,
    reader: AbortHandle,
}

/// What a builder gathers.
pub(crate) struct Settings {
    pub(crate) namespace: Namespace,
    pub(crate) stream: StreamSettings,
    pub(crate) timeout: Duration,
    pub(crate) forwarded: ForwardedPolicy,
    pub(crate) peer: Box<dyn PeerHook + Send + Sync>,
    pub(crate) respond: Box<dyn RespondToFailure>,
    pub(crate) caller: Box<dyn CallerHook + Send + Sync>,
    pub(crate) status_prefix: Option<String>,
    pub(crate) window: u64,
    pub(crate) budget: u64,
}

/// A route, with all that a request needs prepared.
#[derive(Debug)]
pub(crate) struct RouteEntry {
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

/// What is special about a durable route.
#[derive(Debug)]
pub(crate) struct DurableRoute {
    pub(crate) respond_async: bool,
    pub(crate) expiry: Option<Duration>,
}

/// What is special about the route of a gRPC service.
#[derive(Debug)]
struct GrpcRoute {
    /// How long the response's head may take for a call that brings no limit.
    timeout: Option<Duration>,
}

/// For how long nothing may be heard of the consumer that a gRPC call is with, before the response's head. It says that it
/// is at work every 5 s.
const SILENCE: Duration = Duration::from_secs(30);

/// How much of a response may follow its head unasked, so that a stream of messages begins without a round trip.
const GRPC_CREDIT: u64 = 16 * 1024;

/// How long the server may take to confirm what it was told last.
const FLUSH: Duration = Duration::from_secs(1);

/// How many bytes the body of a durable request may have, where the route says nothing else.
const MAX_DURABLE_BODY: u64 = 10 * 1024 * 1024;

impl Gateway {
    /// A gateway over this client.
    ///
    /// The client stays the user's: credentials, TLS and clusters are its business. It may be disconnected, or not
    /// connected yet: requests are then answered 503.
    pub fn builder(client: Client) -> GatewayBuilder {
        GatewayBuilder::new(client)
    }

    /// A layer that puts this gateway in front of a service.
    pub fn layer(&self) -> GatewayLayer {
        GatewayLayer::new(self.clone())
    }

    /// A service of this gateway alone: what matches no route is answered 404, or 405 with `Allow`.
    pub fn service(&self) -> GatewayService<NotFound> {
        GatewayService::new(NotFound::new(self.clone()), self.clone())
    }

    /// Replaces all routes at once. Requests under way keep the route that they came by.
    ///
    /// With the first durable route its stream is declared, in the background: should it exist otherwise than it must,
    /// durable requests are answered 503, and the log tells the difference.
    ///
    /// # Errors
    ///
    /// [`RouteError`] names the first route that is invalid or contradicts another; the routes stay as they were.
    pub fn replace_routes(&self, routes: impl IntoIterator<Item = Route>) -> Result<(), RouteError> {
        let table = self.shared.settings.compile(routes)?;
        if let Some(needs) = needs(&table) {
            self.shared.store.need(needs.outcomes);
            self.shared.status.start();
        }
        self.shared.table.store(Arc::new(table));
        Ok(())
    }

    /// Completes once the NATS client is dead for good, which no reconnect mends: start anew with another one.
    ///
    /// Cancel safe. Pending while there is hope: a client that is disconnected reconnects by itself.
    pub async fn closed(&self) {
        let mut closed = self.shared.closed.clone();
        // An error means that the reader was aborted, which only dropping the gateway does.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Waits until no body is being streamed any more, at most so long. What is left then is cancelled: the HTTP responses
    /// break off, and the consumers are told.
    ///
    /// For the end of a process, once its HTTP server takes no more requests. Not cancel safe: dropped before its end, it
    /// cancels at once.
    pub async fn shutdown(&self, limit: Duration) {
        let mut streams =
            std::mem::take(&mut *self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = async { while streams.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, ended).await.is_err() {
            streams.shutdown().await;
        }
        // Without a connection there is nobody to tell.
        let _ = tokio::time::timeout(FLUSH, self.endpoint().round_trip()).await;
    }

    pub(crate) async fn start(
        client: Client,
        settings: Settings,
        routes: Vec<Route>,
        replies: ReplyPolicy,
        limits: Limits,
    ) -> Result<Self, BuildError> {
        let table = settings.compile(routes)?;
        let status = StatusPaths::new(settings.status_prefix.clone()).ok_or(BuildError::Setting(
            "the prefix of the status resource is no path that begins and ends with a slash",
        ))?;
        metrics::describe();
        let store = Store::new(client.clone(), settings.namespace.clone(), settings.stream.clone());
        let link = NatsLink::new(client);
        let prefix = link.inbox_prefix();
        let endpoint = Arc::new(Endpoint::new(link, &prefix, replies, limits, metrics::inbox));
        let inbox = endpoint.subscribe().await.map_err(|_| BuildError::ClientLost)?;
        let (sender, closed) = watch::channel(false);
        let run = endpoint.clone().run(inbox);
        let reader = tokio::spawn(async move {
            let lost = run.await;
            tracing::error!(%lost, "the gateway is closed");
            sender.send_replace(true);
        });
        let reader = reader.abort_handle();
        let needs = needs(&table);
        let table = ArcSwap::from_pointee(table);
        let budget = Arc::new(Budget::new(settings.budget));
        let flow = FlowConfig { window: settings.window, budget, ..FlowConfig::default() };
        let flow = ArcSwap::from_pointee(flow);
        let streams = Mutex::default();
        let shared = Shared { endpoint, table, store, settings, status, closed, flow, streams, reader };
        let gateway = Self { shared: Arc::new(shared) };
        if let Some(needs) = needs {
            gateway.status().start();
            let declared = gateway.store().declare(needs.outcomes).await;
            declared.map_err(|error| BuildError::Durable(Box::new(error)))?;
        }
        Ok(gateway)
    }

    pub(crate) fn table(&self) -> arc_swap::Guard<Arc<RouteTable<RouteEntry>>> {
        self.shared.table.load()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    pub(crate) fn endpoint(&self) -> &Arc<NatsEndpoint> {
        &self.shared.endpoint
    }

    /// Whether a request would only wait for a connection.
    pub(crate) fn is_disconnected(&self) -> bool {
        !self.shared.endpoint.link().is_connected() || *self.shared.closed.borrow()
    }

    /// The largest message of an exchange.
    pub(crate) fn room(&self) -> usize {
        let endpoint = self.endpoint();
        endpoint.limits().frame.min(endpoint.link().client().max_payload())
    }

    /// How bodies are streamed.
    pub(crate) fn flow(&self) -> Arc<FlowConfig> {
        let (flow, frame) = (self.shared.flow.load_full(), self.room());
        if flow.frame == frame {
            return flow;
        }
        // The connection is to another server, or is there at all.
        let flow = Arc::new(FlowConfig { frame, ..FlowConfig::clone(&flow) });
        self.shared.flow.store(flow.clone());
        flow
    }

    /// Runs what drives an exchange, for as long as the gateway is there.
    pub(crate) fn keep(&self, conversation: impl Future<Output = ()> + Send + 'static) {
        let mut streams = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = streams.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "an exchange failed");
            }
        }
        streams.spawn(conversation);
    }

    /// How long a request waits where its route says nothing else.
    pub(crate) fn timeout(&self) -> Duration {
        self.shared.settings.timeout.min(LONGEST)
    }

    /// Where outcomes are told.
    pub(crate) fn status(&self) -> &StatusPaths {
        &self.shared.status
    }

    /// What separates the caller of a request from others, if anything does.
    pub(crate) fn scope(&self, parts: &request::Parts) -> Option<[u8; 32]> {
        self.shared.settings.caller.caller(parts).as_deref().map(caller_scope)
    }

    /// Adds what is known of a request's sender to its head, and says what is changed about its fields; `id` is the
    /// request's own, if it brings none.
    pub(crate) fn complete(
        &self,
        head: &mut RequestHead,
        parts: &request::Parts,
        id: ExchangeId,
    ) -> FieldChanges {
        let settings = &self.shared.settings;
        let peer = settings.peer.peer(parts);
        let changes = FieldChanges::new(parts, peer.as_ref(), settings.forwarded, &id);
        if let Some(peer) = peer {
            head.scheme = peer.scheme().clone();
            head.peer = Some(peer.address());
        }
        head.max_payload = self.endpoint().link().client().max_payload() as u64;
        changes
    }

    pub(crate) fn respond(&self, failure: &Failure, context: &FailureContext) -> Response<Body> {
        self.shared.settings.respond.respond(failure, context)
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("endpoint", &self.shared.endpoint).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Settings {
    fn compile(&self, routes: impl IntoIterator<Item = Route>) -> Result<RouteTable<RouteEntry>, RouteError> {
        RouteTable::new(routes, |route| Ok(RouteEntry::new(route, &route.app_name()?, self)))
    }
}

/// What a table's durable routes need in JetStream, beside their stream.
struct Needs {
    outcomes: bool,
}

/// None if no route is durable.
fn needs(table: &RouteTable<RouteEntry>) -> Option<Needs> {
    let durable = table.iter().filter_map(|entry| entry.durable());
    durable.fold(None, |needs: Option<Needs>, route| {
        let outcomes = needs.is_some_and(|needs| needs.outcomes) || route.respond_async;
        Some(Needs { outcomes })
    })
}

/// As good as for ever, and short enough for any clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl RouteEntry {
    fn new(route: &Route, app: &App, settings: &Settings) -> Self {
        let durable = route
            .durable
            .then_some(DurableRoute { respond_async: route.respond_async, expiry: route.expiry });
        let subject = match durable {
            Some(_) => settings.namespace.task_subject(app),
            None => settings.namespace.call_subject(app),
        };
        let grpc = (route.grpc && durable.is_none()).then_some(GrpcRoute { timeout: route.timeout });
        let max_body = route.max_body.or(durable.as_ref().map(|_| MAX_DURABLE_BODY));
        Self {
            metrics: RouteMetrics::new(route.path(), &subject),
            app: app.clone(),
            subject: subject.into(),
            template: route.path().to_owned(),
            timeout: route.timeout.unwrap_or(settings.timeout).min(LONGEST),
            total_timeout: route.total_timeout.map(|timeout| timeout.min(LONGEST)),
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

    /// How long a durable request waits for its answer.
    pub(crate) fn wait(&self) -> Duration {
        self.total_timeout.map_or(self.timeout, |total| total.min(self.timeout))
    }

    pub(crate) const fn durable(&self) -> Option<&DurableRoute> {
        self.durable.as_ref()
    }

    pub(crate) const fn max_body(&self) -> usize {
        self.max_body
    }

    pub(crate) const fn metrics(&self) -> &RouteMetrics {
        &self.metrics
    }

    /// How long a request may take altogether.
    pub(crate) fn total_timeout(&self, fields: &HeaderMap) -> Option<Duration> {
        let limits = [self.total_timeout, grpc::timeout(fields)];
        limits.into_iter().flatten().min().map(|timeout| timeout.min(LONGEST))
    }

    /// The settings of an exchange for this request, of whose time so much has passed.
    pub(crate) fn caller_config(&self, parts: &request::Parts, passed: Duration) -> CallerConfig {
        let config = CallerConfig {
            idempotent: parts.method.is_idempotent(),
            head_timeout: self.timeout,
            total_timeout: self.total_timeout(&parts.headers).map(|total| total.saturating_sub(passed)),
            ..CallerConfig::default()
        };
        let Some(GrpcRoute { timeout }) = self.grpc else { return config };
        let own = timeout.filter(|_| grpc::timeout(&parts.headers).is_none());
        CallerConfig {
            head_timeout: own.unwrap_or(LONGEST).min(LONGEST),
            idle: own.is_none().then_some(SILENCE),
            credit: GRPC_CREDIT,
            ..config
        }
    }
}
