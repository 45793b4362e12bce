use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use narun_core::{Limits, Namespace};
use narun_nats::NatsClient;
use narun_nats::inbox::ReplyPolicy;
use narun_nats::jetstream::StreamSettings;

use crate::error::BuildError;
use crate::failure::FailureHook;
use crate::forward::{Cidr, ForwardedPolicy, PeerHook};
use crate::idempotency::CallerHook;
use crate::linger::Linger;
use crate::route::Route;
use crate::settings::Settings;
use crate::state::GatewayState;

/// The smallest window with which responses flow.
const MIN_WINDOW: u64 = 64 * 1024;

/// The largest window: an inbox bounds the messages within a window as well.
const MAX_WINDOW: u64 = 8 * 1024 * 1024;

/// The smallest budget with which bodies that are received at once do not wait for each other for long.
const MIN_BODY_BUDGET: u64 = 1024 * 1024;

/// Builds a [`Gateway`](crate::Gateway).
#[must_use = "a builder does nothing until it is built"]
pub struct GatewayBuilder {
    nats: NatsClient,
    routes: Vec<Route>,
    settings: Settings,
    replies: ReplyPolicy,
}

impl GatewayBuilder {
    pub(crate) fn new(nats: NatsClient) -> Self {
        let settings = Settings::default();
        Self { nats, routes: Vec::new(), settings, replies: ReplyPolicy::default() }
    }

    /// Adds a route. Without routes, no request matches until [`Gateway::replace_routes`](crate::Gateway::replace_routes).
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// Adds routes.
    pub fn routes(mut self, routes: impl IntoIterator<Item = Route>) -> Self {
        self.routes.extend(routes);
        self
    }

    /// Adds the route of a gRPC service, such as `package.Service`. Call it for each service. See [`Route::grpc`].
    pub fn grpc(self, service: impl AsRef<str>, app: impl Into<String>) -> Self {
        self.route(Route::grpc(service, app))
    }

    /// The namespace of the apps, which is also that of their consumers. Default `TASK`.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.settings.namespace = namespace;
        self
    }

    /// How the stream and the buckets of durable requests are declared if they are missing, and what they must guarantee if
    /// they exist. Default [`StreamSettings::new`]: in files, 1 replica, 704 MiB in all.
    pub fn stream_settings(mut self, settings: StreamSettings) -> Self {
        self.settings.stream = settings;
        self
    }

    /// How long to wait for the response's head, for routes without [`Route::timeout`]. Default 15 s.
    ///
    /// It is also the longest pause while the request's body is received. It does not apply to direct
    /// [gRPC routes](Route::grpc), whose calls bring their own limit.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How long a lost connection to NATS may take to be restored before requests that wait for a response get 502. Default
    /// 5 s.
    ///
    /// It is also how long "no responders" does not mean that a consumer is gone, because its own connection may be lost:
    /// after the gateway's connection was restored, and after a consumer that works on a request first missed a message. So
    /// requests to a consumer that has died get their 502 later by this time, and requests to an app without consumers their
    /// 503, after a reconnect.
    pub const fn reconnect_grace(mut self, grace: Duration) -> Self {
        self.settings.reconnect_grace = grace;
        self
    }

    /// How long [`build`](Self::build) waits, with a connection, until the inbox receives messages, and with durable routes
    /// until JetStream can be reached. Default 10 s. After it, `build` fails.
    pub const fn start_timeout(mut self, timeout: Duration) -> Self {
        self.settings.start_timeout = timeout;
        self
    }

    /// How to treat `Forwarded` and the `X-Forwarded-` fields. Default [`ForwardedPolicy::Append`], which without
    /// [trusted proxies](Self::trusted_proxies) replaces the fields of all clients.
    pub const fn forwarded(mut self, policy: ForwardedPolicy) -> Self {
        self.settings.forwarding.policy = policy;
        self
    }

    /// The addresses of the proxies in front of this gateway whose `Forwarded` and `X-Forwarded-` fields are believed.
    /// Default: none.
    ///
    /// Only [`ForwardedPolicy::Append`] uses them. They are compared with the address of the [`Peer`](crate::Peer).
    /// Without a peer, nothing is believed. A proxy must itself replace or check what its clients send.
    pub fn trusted_proxies(mut self, blocks: impl IntoIterator<Item = Cidr>) -> Self {
        self.settings.forwarding.trusted = blocks.into_iter().collect();
        self
    }

    /// Fields that a client cannot remove by naming them in its `Connection` field, for those that an outer layer sets for
    /// the app, such as `x-auth-user`. Default: none.
    ///
    /// `Host`, `Forwarded`, `X-Request-Id` and the `X-Forwarded-` fields are kept in any case. A layer that sets fields only
    /// sometimes needs [`StripHopByHopLayer`](crate::StripHopByHopLayer) around it as well.
    pub fn keep_fields(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.settings.kept_fields = names.into_iter().collect();
        self
    }

    /// How to find the HTTP client's address and scheme. Default [`DefaultPeerHook`](crate::DefaultPeerHook): the
    /// [`Peer`](crate::Peer) extension.
    pub fn peer(mut self, hook: impl PeerHook) -> Self {
        self.settings.peer = Box::new(hook);
        self
    }

    /// How to separate callers, for `Idempotency-Key` and for [reading outcomes](crate::durable_requests#requests-accepted-once).
    /// Default [`DefaultCallerHook`](crate::DefaultCallerHook): by the `Authorization` field.
    pub fn caller(mut self, hook: impl CallerHook) -> Self {
        self.settings.caller = Box::new(hook);
        self
    }

    /// The path prefix of the status resources of durable requests, with the slash at its end. Default `/.narun/requests/`.
    ///
    /// It is matched before all routes and the inner service. If it is set, it is served even without a durable route;
    /// otherwise from the first durable route on. Gateways whose clients read each other's outcomes need the same prefix.
    pub fn status_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.settings.status_prefix = Some(prefix.into());
        self
    }

    /// The bytes of a response that may be buffered or on their way, 64 KiB to 8 MiB. Default 1 MiB.
    ///
    /// It bounds the memory that a slow client costs, here and in the consumer, and the speed of a response: one window per
    /// round trip between the two. The window of request bodies is a setting of the consumer.
    pub const fn window(mut self, bytes: u64) -> Self {
        self.settings.window = bytes;
        self
    }

    /// The bytes of all responses of this gateway that may be buffered or on their way, at least one window. Default 48 MiB.
    ///
    /// Near it, windows shrink to 64 KiB, and then responses wait for each other. nats-server closes a connection with more
    /// than `max_pending` bytes waiting, 64 MB by default: stay well below.
    pub const fn budget(mut self, bytes: u64) -> Self {
        self.settings.budget = bytes;
        self
    }

    /// The bytes of durable requests' bodies that this gateway may have in memory, at least 1 MiB. Default 24 MiB. Bodies that are
    /// [read on](Self::linger) take 8 KiB each of it, as long as half of it is left.
    ///
    /// A body that fits a message is in memory until the stream has its request, and of a longer one at most 1 MiB. Near the
    /// limit, bodies are stored as objects in smaller parts, and wait for each other. One that waits for longer than the
    /// route's timeout gets a 503 with `Retry-After` ([`FailureKind::TooManyBodies`](narun_core::FailureKind::TooManyBodies)).
    pub const fn body_budget(mut self, bytes: u64) -> Self {
        self.settings.body_budget = bytes;
        self
    }

    /// The least average rate at which a client must send a body that the gateway collects, in bytes per second, after the first
    /// 30 s. 0 means none. Default 1024. A slower client gets 408.
    ///
    /// The gateway collects the bodies of durable requests, and of direct requests that state a length with which they fit one
    /// message of 64 KiB. Other bodies are streamed, at any rate. Pauses of all bodies are limited by [`Route::timeout`]. The
    /// rate does not apply to gRPC.
    pub const fn body_rate(mut self, bytes_per_second: u64) -> Self {
        self.settings.body_rate = bytes_per_second;
        self
    }

    /// How long a client may take to send the body of a durable request. Default 1 hour. A slower client gets 408.
    ///
    /// Consumers delete a part of a body that has not changed for two days: a pause that long loses the body, whatever this
    /// limit and [`Route::timeout`] are.
    pub const fn body_timeout(mut self, timeout: Duration) -> Self {
        self.settings.body_timeout = timeout;
        self
    }

    /// How long to read the rest of a request's body after an early response. Default [`Linger::new`]: 30 s, pauses of 5 s,
    /// 64 MiB.
    pub const fn linger(mut self, linger: Linger) -> Self {
        self.settings.linger = linger;
        self
    }

    /// How to respond to failures. Default [`DefaultFailureHook`](crate::DefaultFailureHook).
    pub fn on_failure(mut self, hook: impl FailureHook) -> Self {
        self.settings.failure = Box::new(hook);
        self
    }

    /// The prefixes of the consumers' inboxes. Nothing is published to other reply subjects. Default `_INBOX`, as in NATS
    /// clients.
    pub fn inbox_prefixes(mut self, prefixes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.replies = ReplyPolicy::new(prefixes);
        self
    }

    /// Sets the limits that a configuration file has set, and leaves the others as they are.
    #[cfg(feature = "config")]
    pub fn limits(mut self, limits: &crate::config::GatewayLimits) -> Self {
        limits.apply(&mut self.settings);
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
        if self.settings.body_budget < MIN_BODY_BUDGET {
            return Err(BuildError::Setting("the budget of bodies is smaller than 1 MiB"));
        }
        if self.settings.body_timeout.is_zero() {
            return Err(BuildError::Setting("the timeout of bodies is zero"));
        }
        GatewayState::open(self.nats, self.settings, self.routes, self.replies, Limits::default()).await
    }
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayBuilder").field("routes", &self.routes).finish_non_exhaustive()
    }
}
