//! gRPC: a tonic client over real HTTP/2, a gateway, and tonic's routes as the consumer's service.

mod ending;
mod interop;
mod limits;
mod service;
mod services;
mod web;

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};

use futures::Stream;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use narun_consumer::{Body, BoxError, ServeError, serve};
use narun_gateway::{Gateway, GatewayBuilder};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinHandle};
use tonic::client::{Grpc, GrpcService};
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::harness::{connect, new_app, start};
use service::{NAME, TestService};

/// An HTTP server with a gateway, and a consumer behind it.
struct Site {
    address: SocketAddr,
    service: TestService,
    consumer: JoinHandle<Result<(), ServeError>>,
    http: AbortHandle,
}

impl Site {
    /// Starts one with the service of the interoperability tests.
    async fn start() -> Self {
        Self::start_with(|builder, app| builder.grpc(NAME, app), |routes| routes).await
    }

    /// Starts one with these routes of the gateway, and with a service made from the consumer's routes.
    async fn start_with<S, B>(
        routes: impl FnOnce(GatewayBuilder, &str) -> GatewayBuilder,
        make: impl FnOnce(Routes) -> S,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone + Send + 'static,
        S::Future: Send,
        B: http_body::Body<Error: Into<BoxError>> + Send + 'static,
    {
        let (app, service) = (new_app(), TestService::default());
        let served = make(Routes::new(service.clone()).prepare());
        let consumer = start(&app, serve(connect().await, app.as_str(), served)).await;
        let gateway = routes(Gateway::builder(connect().await), &app).build().await.expect("a gateway");
        let (address, http) = listen(gateway.service()).await;
        Self { address, service, consumer, http }
    }

    fn uri(&self) -> Uri {
        format!("http://{}", self.address).parse().expect("a URI")
    }

    /// A client like a generated one, over tonic's own transport.
    async fn client(&self) -> Client<Channel> {
        Client(Grpc::new(self.channel().await))
    }

    async fn channel(&self) -> Channel {
        Endpoint::from(self.uri()).connect().await.expect("a connection")
    }

    /// A client without time limits of its own.
    fn patient(&self) -> Client<legacy::Client<HttpConnector, tonic::body::Body>> {
        let http = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Client(Grpc::with_origin(http, self.uri()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.http.abort();
        self.consumer.abort();
    }
}

/// Serves HTTP/1.1 and HTTP/2.
async fn listen<S, B>(service: S) -> (SocketAddr, AbortHandle)
where
    S: Service<Request<hyper::body::Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            connections.spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, task.abort_handle())
}

/// A client like those that tonic generates, for any method.
#[derive(Clone)]
struct Client<T>(Grpc<T>);

impl<T> Client<T>
where
    T: GrpcService<tonic::body::Body, Error: Debug>,
    T::ResponseBody: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    async fn unary<Q, R>(
        &mut self,
        method: &'static str,
        request: tonic::Request<Q>,
    ) -> Result<tonic::Response<R>, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        self.0.ready().await.expect("a connection");
        self.0.unary(request, path(method), ProstCodec::default()).await
    }

    async fn client_streaming<Q, R>(
        &mut self,
        method: &'static str,
        requests: tonic::Request<impl Stream<Item = Q> + Send + 'static>,
    ) -> Result<tonic::Response<R>, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        self.0.ready().await.expect("a connection");
        self.0.client_streaming(requests, path(method), ProstCodec::default()).await
    }

    async fn server_streaming<Q, R>(
        &mut self,
        method: &'static str,
        request: tonic::Request<Q>,
    ) -> Result<tonic::Response<Streaming<R>>, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        self.0.ready().await.expect("a connection");
        self.0.server_streaming(request, path(method), ProstCodec::default()).await
    }

    async fn streaming<Q, R>(
        &mut self,
        method: &'static str,
        requests: tonic::Request<impl Stream<Item = Q> + Send + 'static>,
    ) -> Result<tonic::Response<Streaming<R>>, Status>
    where
        Q: Message + 'static,
        R: Message + Default + 'static,
    {
        self.0.ready().await.expect("a connection");
        self.0.streaming(requests, path(method), ProstCodec::default()).await
    }
}

fn path(method: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(method)
}
