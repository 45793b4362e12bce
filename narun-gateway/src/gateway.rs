use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use narun_nats::NatsClient;

use crate::builder::GatewayBuilder;
use crate::error::BuildError;
use crate::layer::GatewayLayer;
use crate::route::{Route, RouteError};
use crate::service::{GatewayService, NotFound};
use crate::state::GatewayState;

/// A gateway: routes, and the NATS connection over which their requests go.
///
/// Cheap to clone. All clones, layers and services of a gateway share it, and it ends when the last of them is dropped.
/// Requests in progress then get no response, so stop the HTTP server first and then [shut down](Self::shutdown).
#[derive(Clone)]
pub struct Gateway {
    state: Arc<GatewayState>,
}

impl Gateway {
    /// A builder of a gateway over this client.
    ///
    /// `nats` is what [`NatsAccess::connect`](crate::NatsAccess::connect) or [`NatsClient::connect`] returns. A client of
    /// async-nats works too, but tells nobody which permissions its user lacks: then a request that NATS denies gets 504
    /// after the timeout, not 503 at once.
    ///
    /// Credentials, TLS and clusters are the client's. It may be disconnected or not connected yet: requests then get 503.
    pub fn builder(nats: impl Into<NatsClient>) -> GatewayBuilder {
        GatewayBuilder::new(nats.into())
    }

    /// A layer that puts this gateway in front of a service.
    ///
    /// It sees only the requests that reach it: in axum, add it after all routes and after the fallback. With the feature
    /// `axum`, it also works in nested routers that have a fallback of their own. It does not work as a `route_layer`, nor
    /// if `fallback` is called after `layer`. See [all placements](crate#in-an-axum-app).
    pub fn layer(&self) -> GatewayLayer {
        GatewayLayer::new(self.state.clone())
    }

    /// A service without an inner one: a request that matches no route gets 404, or 405 with `Allow`.
    pub fn service(&self) -> GatewayService<NotFound> {
        GatewayService::new(NotFound::new(self.state.clone()), self.state.clone())
    }

    /// Replaces all routes at once. Requests in progress keep their route.
    ///
    /// The first durable route makes the gateway declare its stream, in the background. If the stream exists with other
    /// settings than required, durable requests get 503, and the difference is logged.
    ///
    /// # Errors
    ///
    /// [`RouteError`] names the first route that is invalid or conflicts with another. The routes then stay as they were.
    pub fn replace_routes(&self, routes: impl IntoIterator<Item = Route>) -> Result<(), RouteError> {
        self.state.replace_routes(routes)
    }

    /// Waits until the first request can be sent: the client is connected and, if a route is durable, the stream of durable
    /// requests is declared. A consumer may still be missing.
    ///
    /// Completes at once if [`build`](GatewayBuilder::build) had a connection and found the stream. Pending while the client
    /// is not connected or dead, and while the stream cannot be used, whose reason is logged. Cancel safe.
    pub async fn ready(&self) {
        self.state.ready().await;
    }

    /// Completes when the NATS client is dead: it will not reconnect, so build a new gateway over a new client.
    ///
    /// Pending while the client is connected or reconnects by itself. Cancel safe.
    pub async fn closed(&self) {
        self.state.closed().await;
    }

    /// Waits until no body is streamed any more, at most `limit`. Exchanges that are left are cancelled: their HTTP responses
    /// are aborted, and their consumers are notified.
    ///
    /// Meant for the end of a process, after its HTTP server has stopped to accept requests. Not cancel safe: if it is
    /// dropped before it completes, the exchanges are cancelled at once.
    pub async fn shutdown(&self, limit: Duration) {
        self.state.shutdown(limit).await;
    }
}

// Here because the builder, which the handle knows, does not know the handle.
impl GatewayBuilder {
    /// Opens the gateway's inbox and starts the task that reads it, which lives as long as the gateway.
    ///
    /// With a durable route and a connection, the stream is declared or checked first, within 10 s. Without a connection, or
    /// if JetStream has no leader at the moment, that happens in the background, and durable requests get 503 until then.
    ///
    /// Must be called within a tokio runtime. Does not wait for a connection.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if a route or a setting is invalid, the client is dead, a permission is missing, the stream exists with
    /// other settings than required, or JetStream is turned off, which is retried for
    /// [`start_timeout`](GatewayBuilder::start_timeout).
    pub async fn build(self) -> Result<Gateway, BuildError> {
        let state = self.open().await?;
        Ok(Gateway { state })
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("endpoint", self.state.endpoint()).finish_non_exhaustive()
    }
}
