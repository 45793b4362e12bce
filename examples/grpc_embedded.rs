//! NATS over gRPC inside an axum app: one server and one port, with another gRPC service, health and reflection.
//!
//! ```text
//! cargo run --example grpc_embedded
//! curl http://127.0.0.1:50056/
//! cargo run --example grpc_client
//! ```
//!
//! HTTP/2 keepalive detects subscribers that died without closing their connection. `http::serve` turns it on here; the
//! servers of axum and hyper have it off by default.

use std::convert::Infallible;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use clap::Parser;
use futures::future::BoxFuture;
use narun_examples::http::{self, HttpLimits};
use narun_examples::nats::{self, Nats};
use narun_examples::say;
use narun_examples::signal::Shutdown;
use narun_gateway::Peer;
use narun_grpc::auth::TrustRequest;
use narun_grpc::{FILE_DESCRIPTOR_SET, NatsService};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

/// Serves HTTP and gRPC at one port.
#[derive(Parser)]
struct Args {
    /// The nats-server, with JetStream; a private one by default.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
    /// The address to listen on; port 0 for any free port.
    #[arg(long, default_value = "127.0.0.1:50056")]
    listen: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log();
    narun_examples::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let url = args.nats_url;
    let nats = tokio::task::spawn_blocking(|| Nats::at_or_private_with_jetstream(url)).await??;
    let served = serve(nats.url(), args.listen).await;
    let stopped = nats.stop();
    served.and(stopped)
}

async fn serve(nats_url: &str, address: String) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signal()?;
    let service = NatsService::builder(nats::connect(nats_url, "narun-grpc").await?)
        .authenticator(TrustRequest::new())
        // How long a call may take, and how many bytes of requests may be on their way: in all, and on a connection.
        .timeout(Duration::from_secs(10))
        .longest_timeout(Duration::from_secs(60))
        .request_memory(128 << 20, 32 << 20)
        // The server is not tonic's: it puts the peer's address into an extension of its own.
        .peer(|extensions| extensions.get::<Peer>().map(Peer::address))
        .build();
    let (health, _watch) = service.health();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut grpc = Routes::new(service.clone().into_server());
    grpc = grpc.add_service(Greeter).add_service(health).add_service(reflection);
    let app = Router::new()
        .route("/", get(|| async { "an axum app, with NATS over gRPC beside it\n" }))
        .merge(grpc.into_axum_router().reset_fallback());

    let listener = http::listen(&[address], "--listen").await?;
    say!("ready {}", listener.local_addr()?);
    let begun = shutdown.begun();
    // What clients may take: connections, calls at a time on one, and the time for the head of a call.
    let limits = HttpLimits {
        connections: 4096,
        streams: 100,
        head: Duration::from_secs(10),
        keep_alive: Duration::from_secs(300),
    };
    http::serve_with(limits, listener, app, async move {
        begun.await;
        service.end_subscriptions();
    })
    .await;
    Ok(())
}

/// The app's own gRPC service, like tonic's generated code: `example.Greeter`, whose method `Greet` takes and returns a
/// `google.protobuf.StringValue`.
#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "example.Greeter";
}

impl Service<axum::http::Request<Body>> for Greeter {
    type Response = axum::http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: axum::http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != "/example.Greeter/Greet" {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let codec = ProstCodec::<String, String>::default();
            Ok(Grpc::new(codec).unary(Greet, request).await)
        })
    }
}

struct Greet;

impl UnaryService<String> for Greet {
    type Response = String;
    type Future = std::future::Ready<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        std::future::ready(Ok(Response::new(format!("Hello, {}!", request.into_inner()))))
    }
}
