use std::convert::Infallible;
use std::task::{Context, Poll};

use http_body::Body;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::server::NamedService;

use super::limited::LimitedBody;
use crate::pb::nats_service_server::NatsServiceServer;
use crate::{NatsService, SERVICE};

/// The service for a tonic server, or for the routes of an axum app; made by [`NatsService::into_server`]. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct NatsServer {
    inner: NatsServiceServer<NatsService>,
    message_limit: usize,
}

impl NatsServer {
    pub(super) fn new(service: NatsService) -> Self {
        let state = &service.0;
        let (message_limit, response_limit) = (state.message_limit, state.response_limit);
        #[cfg(feature = "gzip")]
        let compress_responses = state.compress_responses;
        let inner = NatsServiceServer::new(service)
            .max_decoding_message_size(message_limit)
            .max_encoding_message_size(response_limit);
        #[cfg(feature = "gzip")]
        let inner = {
            use tonic::codec::CompressionEncoding::Gzip;
            let inner = inner.accept_compressed(Gzip);
            if compress_responses { inner.send_compressed(Gzip) } else { inner }
        };
        Self { inner, message_limit }
    }
}

impl NamedService for NatsServer {
    const NAME: &'static str = SERVICE;
}

impl<B> Service<http::Request<B>> for NatsServer
where
    B: Body + Send + 'static,
    B::Error: Into<StdError>,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let limit = self.message_limit;
        self.inner.call(request.map(|body| LimitedBody::new(body, limit)))
    }
}
