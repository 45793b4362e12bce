use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use narun_core::{Body, Failure, FailureContext, FailureKind};
use tower_service::Service;

use crate::body::{BoxError, ResponseBody};
use crate::future::ResponseFuture;
use crate::request::{ClientBody, RequestFuture};
use crate::route::host;
use crate::state::GatewayState;
use crate::status;

/// A service that sends requests that match a route over NATS, and all others to its inner service.
///
/// Made by [`GatewayLayer`](crate::GatewayLayer), or by [`Gateway::service`](crate::Gateway::service) around [`NotFound`].
/// Its errors are those of the inner service: the gateway's own failures become responses (see [`Failure`]).
#[derive(Clone, Debug)]
pub struct GatewayService<S> {
    inner: S,
    state: Arc<GatewayState>,
}

impl<S> GatewayService<S> {
    pub(crate) const fn new(inner: S, state: Arc<GatewayState>) -> Self {
        Self { inner, state }
    }

    /// The service of requests that match no route.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, B, R> Service<Request<B>> for GatewayService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.state.status().serve(request.uri().path()) {
            let (parts, body) = request.into_parts();
            ClientBody::discard(&parts, body, self.state.lingering());
            return ResponseFuture::status(status::respond(self.state.clone(), parts));
        }
        let table = self.state.table();
        let host = host::of_request(request.uri(), request.headers());
        match table.find(host, request.method(), request.uri().path()).cloned() {
            Some(route) => ResponseFuture::request(RequestFuture::new(self.state.clone(), route, request)),
            None => ResponseFuture::service(self.inner.call(request)),
        }
    }
}

/// Responds to requests that match no route: 404, 405 with `Allow` if only the method does not match, or 501 for CONNECT.
#[derive(Clone, Debug)]
pub struct NotFound {
    state: Arc<GatewayState>,
}

impl NotFound {
    pub(crate) const fn new(state: Arc<GatewayState>) -> Self {
        Self { state }
    }
}

impl<B: http_body::Body + Send + 'static> Service<Request<B>> for NotFound {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = FailureContext::of_request(request.method(), request.headers());
        let table = self.state.table();
        let host = host::of_request(request.uri(), request.headers());
        let allowed = table.allowed(host, request.method(), request.uri().path());
        let kind = match allowed {
            Some(_) => FailureKind::MethodNotAllowed,
            // The target of CONNECT has no path that a route could match.
            None if *request.method() == Method::CONNECT => FailureKind::NotImplemented,
            None => FailureKind::NoRoute,
        };
        let mut response = self.state.respond(&Failure::new(kind), &context);
        if let Some(allowed) = allowed {
            response.headers_mut().insert(http::header::ALLOW, allowed.to_value());
        }
        let (parts, body) = request.into_parts();
        ClientBody::discard(&parts, body, self.state.lingering());
        ready(Ok(response))
    }
}
