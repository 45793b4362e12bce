use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use narun_core::{Body, Failure, FailureKind};
use tower_service::Service;

use crate::body::{BoxError, ResponseBody};
use crate::forward::request_id;
use crate::future::ResponseFuture;
use crate::original;
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let original = original::uri(&request);
        let uri = original.as_ref().unwrap_or(request.uri());
        let host = host::of_request(uri, request.version(), request.headers());
        let is_status = self.state.status().serve(uri.path());
        let table = self.state.table();
        let route = match host {
            _ if is_status => None,
            Ok(host) => table.find(host, request.method(), uri.path()),
            // What the inner service says about such a host is its own affair.
            Err(_) => table.find_for_any_host(request.method(), uri.path()),
        };
        if route.is_none() && !is_status {
            return ResponseFuture::service(self.inner.call(request));
        }
        let problem = host.err();
        let route = route.cloned();
        if let Some(original) = original {
            *request.uri_mut() = original;
        }
        let state = self.state.clone();
        match route {
            Some(route) => ResponseFuture::request(RequestFuture::new(state, route, request, problem)),
            None => {
                let (parts, body) = request.into_parts();
                ClientBody::discard(&parts, body, state.lingering());
                ResponseFuture::status(status::respond(state, parts, problem))
            }
        }
    }
}

/// Responds to requests that match no route: 404, 405 with `Allow` if only the method does not match, 501 for CONNECT, or 400
/// if `Host` is missing, repeated or invalid.
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
        let context = request_id::unrouted_context(request.method(), request.headers());
        let original = original::uri(&request);
        let uri = original.as_ref().unwrap_or(request.uri());
        let table = self.state.table();
        let host = host::of_request(uri, request.version(), request.headers());
        let allowed = host.ok().and_then(|host| table.allowed(host, request.method(), uri.path()));
        let failure = match (host, &allowed) {
            (Err(problem), _) => Failure::new(FailureKind::InvalidHead).with_detail(problem),
            (_, Some(_)) => FailureKind::MethodNotAllowed.into(),
            // The target of CONNECT has no path that a route could match.
            _ if *request.method() == Method::CONNECT => FailureKind::NotImplemented.into(),
            _ => FailureKind::NoRoute.into(),
        };
        let mut response = self.state.respond(&failure, &context);
        request_id::complete(&mut response, context.request_id.as_ref());
        if let Some(allowed) = allowed {
            response.headers_mut().insert(http::header::ALLOW, allowed.to_value());
        }
        let (parts, body) = request.into_parts();
        ClientBody::discard(&parts, body, self.state.lingering());
        ready(Ok(response))
    }
}
