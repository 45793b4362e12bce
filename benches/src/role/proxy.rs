//! The reverse proxy to compare with: hyper on both sides, with streamed bodies.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use tower::Service;

/// Forwards every request to one server, over pooled connections.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    client: Client<HttpConnector, Incoming>,
    to: Authority,
}

impl Proxy {
    pub(super) fn new(to: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let to = to.to_string().parse().expect("an address is an authority");
        Self { client: Client::builder(TokioExecutor::new()).build(connector), to }
    }
}

impl Service<Request<Incoming>> for Proxy {
    type Response = Response<Incoming>;
    type Error = legacy::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.to.clone());
        *request.uri_mut() = Uri::from_parts(uri).expect("a scheme, an authority and a path");
        request.headers_mut().remove(header::CONNECTION);
        self.client.request(request)
    }
}
