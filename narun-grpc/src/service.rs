pub(crate) mod builder;
mod dispatch;
#[cfg(feature = "health")]
pub(crate) mod health;

use std::fmt;
use std::sync::Arc;

use crate::Connection;
use crate::pb::nats_service_server::NatsServiceServer;
use crate::state::ServiceState;

/// NATS over gRPC. Cheap to clone; all clones are one.
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
    /// The service as tonic serves it, which takes interceptors and limits like any other: next to others in tonic's
    /// own server, or as routes of an axum app.
    ///
    /// Messages are limited to [`message_limit`](NatsServiceBuilder::message_limit); with the feature `gzip`,
    /// compressed requests are accepted, and clients that take compressed answers get them.
    pub fn into_server(self) -> NatsServiceServer<Self> {
        let limit = self.0.message_limit;
        let server =
            NatsServiceServer::new(self).max_decoding_message_size(limit).max_encoding_message_size(limit);
        #[cfg(feature = "gzip")]
        let server = {
            use tonic::codec::CompressionEncoding::Gzip;
            server.accept_compressed(Gzip).send_compressed(Gzip)
        };
        server
    }

    /// The connection that the service was made with.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Ends the streams of all subscribers, consumers and watches with UNAVAILABLE, upon which clients connect elsewhere,
    /// and opens no more; for the time before the server is shut down, which would wait for them. What has come for
    /// subscribers is delivered before, what has come for consumers is given back. Other calls go on, up- and downloads too. Cannot be undone.
    pub fn end_streams(&self) {
        self.0.stopping.send_replace(true);
    }
}

impl fmt::Debug for NatsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsService").field("connection", &self.0.connection).finish_non_exhaustive()
    }
}
