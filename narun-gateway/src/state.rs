use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use http::{HeaderMap, HeaderValue, Response, request};
use narun_core::exchange::{Budget, FlowConfig};
use narun_core::frame::RequestHead;
use narun_core::{Body, Failure, FailureContext, Limits};
use narun_nats::body::LeastRate;
use narun_nats::inbox::{Endpoint, ReplyPolicy};
use narun_nats::jetstream::{DeclareError, caller_scope};
use narun_nats::{Denied, NatsClient, Permission};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::error::BuildError;
use crate::forward::fields::FieldChanges;
use crate::held::BodyBudget;
use crate::jetstream::DurableStore;
use crate::linger::Lingering;
use crate::log::{FailureLog, RouteList};
use crate::metrics;
use crate::pace::PaceLimits;
use crate::route::compiled::{CompiledRoute, MAX_TIMEOUT};
use crate::route::table::RouteTable;
use crate::route::{Route, RouteError};
use crate::settings::Settings;
use crate::status::StatusPaths;

/// How long the server may take to confirm what was published last.
const FLUSH: Duration = Duration::from_secs(1);

/// The pause between two checks for a connection.
const CONNECTION: Duration = Duration::from_millis(50);

/// What the requests of a gateway share.
pub(crate) struct GatewayState {
    endpoint: Arc<Endpoint>,
    table: ArcSwap<RouteTable<CompiledRoute>>,
    store: DurableStore,
    settings: Settings,
    status: StatusPaths,
    /// Whether the NATS client is dead.
    closed: watch::Receiver<bool>,
    /// The flow control of streamed bodies, which depends on the server that the client is connected to.
    flow: ArcSwap<FlowConfig>,
    bodies: BodyBudget,
    /// The tasks of exchanges with streamed bodies.
    streaming: Mutex<JoinSet<()>>,
    /// The bodies that are read on after an early response.
    lingering: Arc<Lingering>,
    failures: Arc<FailureLog>,
    /// The task that reads the inbox, and logs how often failures repeat.
    reader: AbortHandle,
}

impl GatewayState {
    /// Opens the inbox, and declares what durable routes need. Must be called within a tokio runtime.
    pub(crate) async fn open(
        nats: NatsClient,
        settings: Settings,
        routes: Vec<Route>,
        replies: ReplyPolicy,
        limits: Limits,
    ) -> Result<Arc<Self>, BuildError> {
        let list = RouteList::new(&routes);
        let table = RouteTable::compile(routes, &settings.namespace, settings.timeout)?;
        let status = StatusPaths::new(settings.status_prefix.clone()).ok_or(BuildError::Setting(
            "the prefix of the status resource is no path that begins and ends with a slash",
        ))?;
        metrics::describe();
        let failures = Arc::new(FailureLog::default());
        let (namespace, stream) = (settings.namespace.clone(), settings.stream.clone());
        let store = DurableStore::new(&nats, namespace, stream);
        // Subscriptions that are denied from now on are ours.
        let mut denials = nats.watch();
        let opened = narun_nats::open(&nats, replies, limits, metrics::inbox).await;
        let (endpoint, inbox_reader) = opened.map_err(|_| BuildError::ClientLost)?;
        let (sender, closed) = watch::channel(false);
        let logged = failures.clone();
        let reader = tokio::spawn(async move {
            let lost = tokio::select! {
                lost = inbox_reader.run() => lost,
                () = logged.summarize() => return,
                () = nats.summarize() => return,
            };
            tracing::error!(%lost, "the gateway is closed");
            sender.send_replace(true);
        });
        let reader = reader.abort_handle();
        let needs = table.durable_needs();
        let has_direct = table.has_direct();
        let table = ArcSwap::from_pointee(table);
        let budget = Arc::new(Budget::new(settings.budget));
        let mut flow = FlowConfig::default();
        (flow.window, flow.budget) = (settings.window, budget);
        let flow = ArcSwap::from_pointee(flow);
        let bodies = BodyBudget::new(settings.body_budget);
        let streaming = Mutex::default();
        let lingering = Arc::new(Lingering::new(settings.linger, bodies.clone()));
        let state = Arc::new(Self {
            endpoint,
            table,
            store,
            settings,
            status,
            closed,
            flow,
            bodies,
            streaming,
            lingering,
            failures,
            reader,
        });
        list.log(&state.settings.namespace);
        let inbox = state.endpoint.subject();
        let is_durable = needs.is_some();
        let needs_permission = |denied: &Denied| match denied.permission {
            Permission::Publish => is_durable && state.store.tasks().is_api_subject(&denied.subject),
            _ => denied.subject == inbox,
        };
        let start = async {
            if let Some(needs) = needs {
                state.status.start();
                let declared = state.store.declare(needs.outcomes, state.settings.start_timeout).await;
                declared.map_err(|error| match error {
                    DeclareError::NotPermitted { denied, .. } => BuildError::NotPermitted(denied),
                    error => BuildError::Durable(Box::new(error)),
                })?;
            }
            if has_direct {
                state.subscribed().await.map_err(BuildError::NotPermitted)?;
            }
            Ok::<_, BuildError>(())
        };
        tokio::select! {
            biased;
            denied = denials.next(needs_permission) => return Err(BuildError::NotPermitted(denied)),
            started = start => started?,
        }
        Ok(state)
    }

    /// Waits until the inbox receives messages, unless there is no connection.
    async fn subscribed(&self) -> Result<(), Denied> {
        let limit = self.settings.start_timeout;
        // Nobody subscribes to this subject. A gateway needs no permission to publish to its own inbox.
        let absent = self.endpoint.replies().absent();
        let subscribed = self.endpoint.subscribed(limit, absent);
        tokio::select! {
            subscribed = subscribed => subscribed,
            () = async {
                while !self.is_disconnected() {
                    tokio::time::sleep(CONNECTION).await;
                }
            } => Ok(()),
        }
    }

    /// Replaces all routes, and declares what the new ones need in the background.
    pub(crate) fn replace_routes(&self, routes: impl IntoIterator<Item = Route>) -> Result<(), RouteError> {
        let routes: Vec<Route> = routes.into_iter().collect();
        let list = RouteList::new(&routes);
        let table = RouteTable::compile(routes, &self.settings.namespace, self.settings.timeout)?;
        list.log(&self.settings.namespace);
        if let Some(needs) = table.durable_needs() {
            self.store.need(needs.outcomes);
            self.status.start();
        }
        self.table.store(Arc::new(table));
        Ok(())
    }

    /// Waits for a connection, and until the stream is declared if a route is durable.
    pub(crate) async fn ready(&self) {
        while self.is_disconnected() {
            tokio::time::sleep(CONNECTION).await;
        }
        if self.table().durable_needs().is_some() {
            self.store.declared().await;
        }
    }

    /// Completes when the NATS client is dead.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.clone();
        // An error means that the reader was aborted, which only dropping this state does.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Waits until no body is streamed any more, at most `limit`, then cancels the exchanges that are left.
    pub(crate) async fn shutdown(&self, limit: Duration) {
        let mut streaming =
            std::mem::take(&mut *self.streaming.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = async { while streaming.join_next().await.is_some() {} };
        if timeout(limit, ended).await.is_err() {
            streaming.shutdown().await;
        }
        self.lingering.end();
        // Without a connection the consumers cannot be notified.
        let _ = timeout(FLUSH, self.endpoint.round_trip()).await;
    }

    pub(crate) fn table(&self) -> Guard<Arc<RouteTable<CompiledRoute>>> {
        self.table.load()
    }

    pub(crate) const fn store(&self) -> &DurableStore {
        &self.store
    }

    pub(crate) const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(crate) fn failures(&self) -> &FailureLog {
        &self.failures
    }

    pub(crate) const fn status(&self) -> &StatusPaths {
        &self.status
    }

    pub(crate) const fn reconnect_grace(&self) -> Duration {
        self.settings.reconnect_grace
    }

    pub(crate) const fn lingering(&self) -> &Arc<Lingering> {
        &self.lingering
    }

    /// Returns whether requests must be refused at once, as there is no connection or the client is dead.
    pub(crate) fn is_disconnected(&self) -> bool {
        !self.endpoint.is_connected() || *self.closed.borrow()
    }

    /// The size of the largest frame of a direct exchange.
    pub(crate) fn room(&self) -> usize {
        self.endpoint.max_frame()
    }

    /// The memory of the bodies of durable requests.
    pub(crate) const fn bodies(&self) -> &BodyBudget {
        &self.bodies
    }

    /// How fast the client of a durable request with these fields must send its body.
    pub(crate) fn pace(&self, route: &CompiledRoute, fields: &HeaderMap) -> PaceLimits {
        let total = route.total_timeout(fields).unwrap_or(MAX_TIMEOUT);
        PaceLimits {
            max_pause: route.timeout().min(total),
            least_rate: self.least_rate(fields),
            total: self.settings.body_timeout,
        }
    }

    /// The least rate at which the client of a request with these fields must send a body that is collected.
    pub(crate) fn least_rate(&self, fields: &HeaderMap) -> LeastRate {
        self.settings.least_rate(fields)
    }

    /// The flow control of streamed bodies.
    pub(crate) fn flow(&self) -> Arc<FlowConfig> {
        let (flow, frame) = (self.flow.load_full(), self.room());
        if flow.frame == frame {
            return flow;
        }
        // The client has connected for the first time, or to another server.
        let mut flow = FlowConfig::clone(&flow);
        flow.frame = frame;
        let flow = Arc::new(flow);
        self.flow.store(flow.clone());
        flow
    }

    /// Spawns the driver of an exchange, which is aborted when the gateway is dropped.
    pub(crate) fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        let mut streaming = self.streaming.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = streaming.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "the task of an exchange failed");
            }
        }
        streaming.spawn(driver);
    }

    /// The timeout of requests that match no route, or a route without one.
    pub(crate) fn timeout(&self) -> Duration {
        self.settings.timeout.min(MAX_TIMEOUT)
    }

    /// The hash that separates the caller of a request from others. Returns `None` if the hook names no caller.
    pub(crate) fn scope(&self, parts: &request::Parts) -> Option<[u8; 32]> {
        self.settings.caller.caller(parts).as_deref().map(caller_scope)
    }

    /// Adds to the head what is known of the request's sender, and returns the changes to the request's fields. `id` becomes
    /// the `X-Request-Id` of a request without a valid one.
    pub(crate) fn complete<'a>(
        &'a self,
        head: &mut RequestHead,
        parts: &'a request::Parts,
        id: &HeaderValue,
    ) -> FieldChanges<'a> {
        let Settings { peer, forwarding, kept_fields, .. } = &self.settings;
        let peer = peer.peer(parts);
        let changes = FieldChanges::new(parts, peer.as_ref(), forwarding, kept_fields, id);
        if let Some(peer) = peer {
            head.scheme = peer.scheme().clone();
            head.peer = Some(peer.address());
        }
        head.max_payload = self.endpoint.max_payload() as u64;
        changes
    }

    /// The response to a failure, as the hook makes it.
    pub(crate) fn respond(&self, failure: &Failure, context: &FailureContext) -> Response<Body> {
        self.settings.failure.respond(failure, context)
    }
}

impl Drop for GatewayState {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl fmt::Debug for GatewayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayState").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
