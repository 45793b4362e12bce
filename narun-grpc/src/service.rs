pub(crate) mod builder;
mod dispatch;
#[cfg(feature = "health")]
pub(crate) mod health;
mod limited;
pub(crate) mod server;

use std::fmt;
use std::sync::Arc;

use self::server::NatsServer;
use crate::Connection;
use crate::state::ServiceState;

/// The gRPC service. Cheap to clone; all clones share one state.
///
/// ```no_run
/// # async fn example(nats: async_nats::Client) {
/// use narun_grpc::NatsService;
/// use narun_grpc::auth::{Principal, StaticTokens};
///
/// let tokens = StaticTokens::new().token("correct horse battery staple", Principal::user("ann"));
/// let service = NatsService::builder(nats).authenticator(tokens).build();
/// let server = service.clone().into_server();
/// # }
/// ```
#[derive(Clone)]
pub struct NatsService(pub(crate) Arc<ServiceState>);

impl NatsService {
    /// Returns the service for a tonic server, or for the routes of an axum app. It takes interceptors and layers like
    /// any other tonic service.
    ///
    /// Messages are limited to [`message_limit`](crate::NatsServiceBuilder::message_limit) and
    /// [`response_limit`](crate::NatsServiceBuilder::response_limit). With the feature `gzip`, compressed requests are
    /// accepted, and [`compress_responses`](crate::NatsServiceBuilder::compress_responses) compresses responses.
    #[must_use]
    pub fn into_server(self) -> NatsServer {
        NatsServer::new(self)
    }

    /// The connection that the service was built with.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Ends all live subscriptions (Subscribe, QueueSubscribe, ConsumeMessages, KVWatch) with UNAVAILABLE, so that clients
    /// connect to another replica, and refuses new ones.
    ///
    /// Call it before the server is shut down, which would wait for them. Messages queued for subscribers are delivered
    /// first; messages pulled for consumers are given back. Other calls go on, uploads and downloads too. Cannot be
    /// undone. Once the server has shut down, [`Connection::finish`] waits until they are given back.
    pub fn end_subscriptions(&self) {
        self.0.stopping.send_replace(true);
    }
}

impl fmt::Debug for NatsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsService").field("connection", &self.0.connection).finish_non_exhaustive()
    }
}
