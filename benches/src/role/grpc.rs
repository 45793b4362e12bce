//! gRPC, with a tonic service written by hand: both of its methods return the messages that they receive.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::{BoxFuture, FutureExt, Ready, ready};
use http::uri::PathAndQuery;
use serde::{Deserialize, Serialize};
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::Service;

use super::app::NatsApp;
use super::http_server::{self, Protocol};
use super::parent;
use crate::Error;
use crate::round::{Connect, RoundTrip, RoundTripError};

/// The full name of the service.
pub(super) const SERVICE: &str = "bench.Echo";

const UNARY: &str = "/bench.Echo/Unary";
const STREAM: &str = "/bench.Echo/Stream";

/// The called method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Method {
    Unary,
    /// One call per connection, in which messages go back and forth, one at a time.
    Stream,
}

/// A message of some bytes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Content {
    #[prost(bytes = "bytes", tag = "1")]
    bytes: Bytes,
}

/// Serves the service directly, over HTTP/2.
pub(super) async fn backend() -> Result<(), Error> {
    http_server::serve_as(Protocol::Http2, Echo).await
}

/// Serves the service through NATS, until the process ends.
pub(super) async fn consumer(at: NatsApp) -> Result<(), Error> {
    let client = async_nats::connect(&at.nats).await?;
    let app = at.app.clone();
    narun_consumer::serve(client, at.app, Echo).on_ready(move || parent::ready(&app)).await?;
    Err("the consumer stopped".into())
}

/// The service, like tonic's generated code.
#[derive(Clone, Copy, Debug)]
struct Echo;

impl<B> Service<http::Request<B>> for Echo
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Error> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let mut grpc = Grpc::new(ProstCodec::<Content, Content>::default());
        match request.uri().path() {
            UNARY => async move { Ok(grpc.unary(Self, request).await) }.boxed(),
            STREAM => async move { Ok(grpc.streaming(Self, request).await) }.boxed(),
            _ => ready(Ok(Status::unimplemented("no such method").into_http())).boxed(),
        }
    }
}

impl UnaryService<Content> for Echo {
    type Response = Content;
    type Future = Ready<Result<Response<Content>, Status>>;

    fn call(&mut self, request: Request<Content>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

impl StreamingService<Content> for Echo {
    type Response = Content;
    type ResponseStream = Streaming<Content>;
    type Future = Ready<Result<Response<Streaming<Content>>, Status>>;

    fn call(&mut self, request: Request<Streaming<Content>>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

/// Opens connections to a server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    to: SocketAddr,
    method: Method,
    content: Content,
}

impl Connector {
    pub(super) fn new(to: SocketAddr, method: Method, length: usize) -> Self {
        Self { to, method, content: Content { bytes: vec![b'x'; length].into() } }
    }
}

impl Connect for Connector {
    type Connection = Calls;

    async fn connect(&self) -> Result<Calls, Error> {
        let channel = Channel::from_shared(format!("http://{}", self.to))?.connect().await?;
        let Self { method, content, .. } = self.clone();
        Ok(Calls { client: tonic::client::Grpc::new(channel), method, content, stream: None })
    }
}

/// A connection with one streaming call, or with one unary call after the other.
#[derive(Debug)]
pub(super) struct Calls {
    client: tonic::client::Grpc<Channel>,
    method: Method,
    content: Content,
    stream: Option<(UnboundedSender<Content>, Streaming<Content>)>,
}

impl RoundTrip for Calls {
    async fn once(&mut self) -> Result<(), RoundTripError> {
        let response = match self.method {
            Method::Unary => self.unary().await,
            Method::Stream => self.message().await,
        };
        match response {
            Ok(response) if response == self.content => Ok(()),
            Ok(_) => Err(RoundTripError::Broken("another message".to_owned())),
            Err(status) => Err(RoundTripError::Broken(status.to_string())),
        }
    }
}

impl Calls {
    async fn unary(&mut self) -> Result<Content, Status> {
        self.client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let (request, path) = (Request::new(self.content.clone()), PathAndQuery::from_static(UNARY));
        Ok(self.client.unary(request, path, codec()).await?.into_inner())
    }

    async fn message(&mut self) -> Result<Content, Status> {
        if self.stream.is_none() {
            self.client.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let (sender, messages) = unbounded();
            let (request, path) = (Request::new(messages), PathAndQuery::from_static(STREAM));
            let responses = self.client.streaming(request, path, codec()).await?.into_inner();
            self.stream = Some((sender, responses));
        }
        let Some((sender, responses)) = &mut self.stream else { return Err(Status::internal("no stream")) };
        let sent = sender.unbounded_send(self.content.clone());
        sent.map_err(|_| Status::unavailable("the stream is over"))?;
        responses.next().await.unwrap_or_else(|| Err(Status::unavailable("the stream is over")))
    }
}

fn codec() -> ProstCodec<Content, Content> {
    ProstCodec::default()
}
