use std::convert::Infallible;
use std::task::{Context, Poll};

use http_body::Body;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;

use super::limited::LimitedBody;
use crate::auth::Authenticated;
use crate::pb::nats_service_server::NatsServiceServer;
use crate::state::memory::RequestBytes;
use crate::{Method, NatsService, SERVICE};

/// The limit of a message without authentication, in bytes.
const SMALLEST_LIMIT: usize = 4 << 10;

/// The service for a tonic server, or for the routes of an axum app; made by [`NatsService::into_server`]. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct NatsServer {
    inner: NatsServiceServer<NatsService>,
    service: NatsService,
}

impl NatsServer {
    pub(super) fn new(service: NatsService) -> Self {
        let state = &service.0;
        let (message_limit, response_limit) = (state.message_limit, state.response_limit);
        #[cfg(feature = "gzip")]
        let compress_responses = state.compress_responses;
        let inner = NatsServiceServer::new(service.clone())
            .max_decoding_message_size(message_limit)
            .max_encoding_message_size(response_limit);
        #[cfg(feature = "gzip")]
        let inner = {
            use tonic::codec::CompressionEncoding::Gzip;
            let inner = inner.accept_compressed(Gzip);
            if compress_responses { inner.send_compressed(Gzip) } else { inner }
        };
        Self { inner, service }
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
        let (mut inner, state) = (self.inner.clone(), self.service.0.clone());
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let method = Method::of_path(parts.uri.path());
            let metadata = MetadataMap::from_headers(std::mem::take(&mut parts.headers));
            // Of an unknown method, and of the one without authentication, no large message is read.
            let method = method.filter(|method| *method != Method::HealthCheck);
            if let Some(method) = method.filter(|_| !state.authenticator.reads_ids()) {
                match state.authenticate_early(method, &metadata, &parts.extensions).await {
                    Ok(principal) => drop(parts.extensions.insert(Authenticated(principal))),
                    Err(status) => return Ok(status.into_http()),
                }
            }
            let (due, peer) = state.arrival(&metadata, &parts.extensions);
            parts.headers = metadata.into_headers();
            let memory = RequestBytes::new(state.request_memory.clone(), peer);
            let limit =
                if method.is_some() { state.message_limit } else { state.message_limit.min(SMALLEST_LIMIT) };
            let streamed = method == Some(Method::ObjectUpload);
            let body = LimitedBody::new(body, streamed, limit, due, memory);
            inner.call(http::Request::from_parts(parts, body)).await
        })
    }
}
