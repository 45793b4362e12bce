//! NATS over gRPC as a program of its own, and the simplest gRPC method, to compare with.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::Ipv4Addr;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use narun_grpc::NatsService;
use narun_grpc::auth::TrustRequest;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use super::parent;
use crate::Error;

/// The path of the echo.
pub(super) const ECHO: &str = "/bench.Echo/Echo";

/// Serves NATS over gRPC.
pub(super) async fn service(nats: &str) -> Result<(), Error> {
    let client = async_nats::connect(nats).await?;
    let service = NatsService::builder(client).authenticator(TrustRequest::new()).build();
    serve(Server::builder().add_service(service.into_server())).await
}

/// Serves a method that returns its request, a `google.protobuf.BytesValue`.
pub(super) async fn echo() -> Result<(), Error> {
    serve(Server::builder().add_service(Echo)).await
}

/// Serves on a free port until the process ends.
async fn serve(router: Router) -> Result<(), Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    parent::ready(listener.local_addr()?);
    router.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))).await?;
    Ok(())
}

#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async {
            Ok(Grpc::new(ProstCodec::<Bytes, Bytes>::default()).unary(EchoMethod, request).await)
        })
    }
}

struct EchoMethod;

impl UnaryService<Bytes> for EchoMethod {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}
