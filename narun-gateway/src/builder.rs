use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use narun_core::{Limits, Namespace};
use narun_nats::inbox::ReplyPolicy;
use narun_nats::jetstream::StreamSettings;

use crate::error::BuildError;
use crate::failure::FailureHook;
use crate::forward::{ForwardedPolicy, PeerHook};
use crate::idempotency::CallerHook;
use crate::route::Route;
use crate::settings::Settings;
use crate::state::GatewayState;

/// What a window has at least to let a response flow.
const MIN_WINDOW: u64 = 64 * 1024;

/// What comes within one is bounded in messages as well.
const MAX_WINDOW: u64 = 8 * 1024 * 1024;

/// Gathers the settings of a [`Gateway`](crate::Gateway).
#[must_use = "a builder does nothing until it is built"]
pub struct GatewayBuilder {
    client: Client,
    routes: Vec<Route>,
    settings: Settings,
    replies: ReplyPolicy,
}

impl GatewayBuilder {
    pub(crate) fn new(client: Client) -> Self {
        let settings = Settings::default();
        Self { client, routes: Vec::new(), settings, replies: ReplyPolicy::default() }
    }

    /// Adds a route. Without any, everything falls through until [`Gateway::replace_routes`](crate::Gateway::replace_routes).
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Adds routes.
    pub fn routes(mut self, routes: impl IntoIterator<Item = Route>) -> Self {
        self.routes.extend(routes);
        self
    }

    /// Adds the route of a gRPC service, such as `package.Service`: [`Route::grpc`]. To be called for each service.
    pub fn grpc(self, service: impl AsRef<str>, app: impl Into<String>) -> Self {
        self.route(Route::grpc(service, app))
    }

    /// The namespace of the apps, which consumers share. Default `TASK`.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.settings.namespace = namespace;
        self
    }

    /// How the stream of durable requests, and the buckets beside it, are declared where they are missing, and what must
    /// be true of them where they exist. Default [`StreamSettings::new`]: kept in files, on one server, without limits.
    pub fn stream_settings(mut self, settings: StreamSettings) -> Self {
        self.settings.stream = settings;
        self
    }

    /// How long a request waits for its response's head, where the route says nothing else. Default 15 s.
    ///
    /// The same time is allowed for each pause in the receipt of the request's body. Not for
    /// [gRPC services](Route::grpc), where calls bring their own.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// What becomes of `Forwarded` and the `X-Forwarded-` fields. Default [`ForwardedPolicy::Append`].
    pub const fn forwarded(mut self, policy: ForwardedPolicy) -> Self {
        self.settings.forwarded = policy;
        self
    }

    /// How the HTTP client's address and scheme are found. Default: from the [`Peer`](crate::Peer) extension.
    pub fn peer(mut self, hook: impl PeerHook) -> Self {
        self.settings.peer = Box::new(hook);
        self
    }

    /// How callers are told apart, for `Idempotency-Key` and for [who can read an outcome](crate#requests-accepted-once).
    /// Default [`DefaultCallerHook`](crate::DefaultCallerHook): not at all.
    pub fn caller(mut self, hook: impl CallerHook) -> Self {
        self.settings.caller = Box::new(hook);
        self
    }

    /// The path below which this gateway tells what became of requests, with its last slash. Default
    /// `/.narun/requests/`.
    ///
    /// It comes before all routes and the inner service. Set explicitly, it is served even by a gateway without a durable
    /// route; by default a gateway serves it from its first durable route on. Gateways whose clients are to read each
    /// other's outcomes have the same prefix.
    pub fn status_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.status_prefix = Some(prefix.into());
        self
    }

    /// How many bytes of a response may be under way or wait for the HTTP client to take them, 64 KiB to 8 MiB. Default
    /// 1 MiB.
    ///
    /// It bounds the memory that a slow client costs, here and in the consumer, and with it what one response may reach: a
    /// window for each round trip between the two. The consumer has a window of its own for requests.
    pub const fn window(mut self, bytes: u64) -> Self {
        self.settings.window = bytes;
        self
    }

    /// How many bytes of all responses together may be under way or wait, in this gateway. Default 48 MiB.
    ///
    /// Near it windows shrink to 64 KiB, and at last responses take turns. A nats-server closes a connection that has more
    /// waiting than its `max_pending`, 64 MB by default: stay well below that. At least one window.
    pub const fn budget(mut self, bytes: u64) -> Self {
        self.settings.budget = bytes;
        self
    }

    /// How failures are answered. Default [`DefaultFailureHook`](crate::DefaultFailureHook).
    pub fn on_failure(mut self, hook: impl FailureHook) -> Self {
        self.settings.failure = Box::new(hook);
        self
    }

    /// The prefixes below which consumers have their inboxes; nothing is published to a reply subject outside them.
    /// Default `_INBOX`, that of NATS clients.
    pub fn inbox_prefixes(mut self, prefixes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.replies = ReplyPolicy::new(prefixes);
        self
    }

    /// Checks the settings and opens the gateway.
    pub(crate) async fn open(self) -> Result<Arc<GatewayState>, BuildError> {
        if self.settings.timeout.is_zero() {
            return Err(BuildError::Setting("the timeout is zero"));
        }
        if !(MIN_WINDOW..=MAX_WINDOW).contains(&self.settings.window) {
            return Err(BuildError::Setting("the window is not between 64 KiB and 8 MiB"));
        }
        if self.settings.budget < self.settings.window {
            return Err(BuildError::Setting("the budget is smaller than the window"));
        }
        GatewayState::open(self.client, self.settings, self.routes, self.replies, Limits::default()).await
    }
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayBuilder").field("routes", &self.routes).finish_non_exhaustive()
    }
}
