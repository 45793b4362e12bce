//! `grpc.testing.TestService`, the server of gRPC's interoperability tests.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName};
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::server::{Grpc, NamedService};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

pub(crate) const NAME: &str = "grpc.testing.TestService";

/// The methods, as in `grpc/testing/test.proto`.
pub(crate) const EMPTY: &str = "/grpc.testing.TestService/EmptyCall";
pub(crate) const UNARY: &str = "/grpc.testing.TestService/UnaryCall";
pub(crate) const INPUT: &str = "/grpc.testing.TestService/StreamingInputCall";
pub(crate) const OUTPUT: &str = "/grpc.testing.TestService/StreamingOutputCall";
pub(crate) const DUPLEX: &str = "/grpc.testing.TestService/FullDuplexCall";
pub(crate) const UNIMPLEMENTED: &str = "/grpc.testing.TestService/UnimplementedCall";
/// Not in the interoperability tests: one never responds, one panics.
pub(crate) const SLEEP: &str = "/grpc.testing.TestService/Sleep";
pub(crate) const PANIC: &str = "/grpc.testing.TestService/Panic";

/// Metadata that a client sends and receives back, before the response and after it.
pub(crate) const ECHO: &str = "x-grpc-test-echo-initial";
pub(crate) const ECHO_TRAILING: &str = "x-grpc-test-echo-trailing-bin";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payload {
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) body: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EchoStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BoolValue {
    #[prost(bool, tag = "1")]
    pub(crate) value: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SimpleRequest {
    #[prost(int32, tag = "2")]
    pub(crate) response_size: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) payload: Option<Payload>,
    #[prost(message, optional, tag = "7")]
    pub(crate) response_status: Option<EchoStatus>,
    #[prost(message, optional, tag = "8")]
    pub(crate) expect_compressed: Option<BoolValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SimpleResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) payload: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct InputRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) payload: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct InputResponse {
    #[prost(int32, tag = "1")]
    pub(crate) aggregated_payload_size: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResponseParameters {
    #[prost(int32, tag = "1")]
    pub(crate) size: i32,
    #[prost(int32, tag = "2")]
    pub(crate) interval_us: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OutputRequest {
    #[prost(message, repeated, tag = "2")]
    pub(crate) response_parameters: Vec<ResponseParameters>,
    #[prost(message, optional, tag = "3")]
    pub(crate) payload: Option<Payload>,
    #[prost(message, optional, tag = "7")]
    pub(crate) response_status: Option<EchoStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OutputResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) payload: Option<Payload>,
}

type Outputs = Pin<Box<dyn Stream<Item = Result<OutputResponse, Status>> + Send>>;

/// The service, with counts of the calls that have started and ended.
#[derive(Clone, Default)]
pub(crate) struct TestService {
    begun: Arc<AtomicUsize>,
    over: Arc<AtomicUsize>,
}

/// A running call.
struct Call(Arc<AtomicUsize>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl TestService {
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn over(&self) -> usize {
        self.over.load(Ordering::SeqCst)
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let call = Call(self.over);
        let (initial, trailing) = echoes(request.headers());
        let mut response = match request.uri().path() {
            EMPTY => codec().unary(service_fn(async |_: Request<()>| Ok(Response::new(()))), request).await,
            UNARY => codec().unary(service_fn(unary), request).await,
            INPUT => codec().client_streaming(service_fn(input), request).await,
            OUTPUT => codec().server_streaming(service_fn(output), request).await,
            DUPLEX => codec().streaming(service_fn(duplex), request).await,
            SLEEP => std::future::pending().await,
            PANIC => panic!("on purpose"),
            _ => Status::unimplemented("").into_http(),
        };
        response.headers_mut().extend(initial);
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _ = &call;
                match frame.into_trailers() {
                    Ok(mut trailers) => {
                        trailers.extend(trailing.clone());
                        http_body::Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                }
            }))
        })
    }
}

impl NamedService for TestService {
    const NAME: &'static str = NAME;
}

impl Service<http::Request<Body>> for TestService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.clone().answer(request);
        Box::pin(async { Ok(answer.await) })
    }
}

/// Returns the metadata that a client wants back, before the response and after it.
fn echoes(fields: &HeaderMap) -> (HeaderMap, HeaderMap) {
    let echo = |name| {
        let name = HeaderName::from_static(name);
        let values = fields.get_all(&name).iter().map(|value| (name.clone(), value.clone()));
        HeaderMap::from_iter(values)
    };
    (echo(ECHO), echo(ECHO_TRAILING))
}

/// Compresses responses for clients that accept that.
fn codec<R, Q>() -> Grpc<ProstCodec<R, Q>>
where
    R: prost::Message + 'static,
    Q: prost::Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).accept_compressed(Gzip).send_compressed(Gzip)
}

async fn unary(request: Request<SimpleRequest>) -> Result<Response<SimpleResponse>, Status> {
    let is_compressed = request.metadata().get("grpc-encoding").is_some_and(|encoding| encoding == "gzip");
    let request = request.into_inner();
    if request.expect_compressed.is_some_and(|expected| expected.value != is_compressed) {
        return Err(Status::invalid_argument("compressed, or not"));
    }
    status(request.response_status)?;
    Ok(Response::new(SimpleResponse { payload: Some(zeros(request.response_size)) }))
}

async fn input(request: Request<Streaming<InputRequest>>) -> Result<Response<InputResponse>, Status> {
    let mut requests = request.into_inner();
    let mut aggregated_payload_size = 0;
    while let Some(request) = requests.message().await? {
        aggregated_payload_size += request.payload.map_or(0, |payload| payload.body.len() as i32);
    }
    Ok(Response::new(InputResponse { aggregated_payload_size }))
}

async fn output(request: Request<OutputRequest>) -> Result<Response<Outputs>, Status> {
    Ok(Response::new(Box::pin(outputs(request.into_inner()))))
}

async fn duplex(request: Request<Streaming<OutputRequest>>) -> Result<Response<Outputs>, Status> {
    Ok(Response::new(Box::pin(request.into_inner().map_ok(outputs).try_flatten())))
}

fn outputs(request: OutputRequest) -> impl Stream<Item = Result<OutputResponse, Status>> + Send {
    let end = stream::iter(status(request.response_status).err()).map(Err);
    let outputs = stream::iter(request.response_parameters).then(async |parameters| {
        if parameters.interval_us > 0 {
            tokio::time::sleep(Duration::from_micros(parameters.interval_us as u64)).await;
        }
        Ok(OutputResponse { payload: Some(zeros(parameters.size)) })
    });
    outputs.chain(end)
}

fn status(status: Option<EchoStatus>) -> Result<(), Status> {
    match status {
        Some(EchoStatus { code, message }) => Err(Status::new(Code::from(code), message)),
        None => Ok(()),
    }
}

pub(crate) fn zeros(size: i32) -> Payload {
    Payload { body: vec![0; size as usize].into() }
}
