//! An HTTP server behind NATS, unchanged: the consumer's service is an HTTP client, which forwards requests to it.
//!
//! ```text
//! cargo run --example proxy_existing -- --target http://127.0.0.1:3000   # a server of yours
//! cargo run --example proxy_existing                                     # a small server of the program's own
//! cargo run --example proxy_existing -- --once                           # stop after two requests to that server
//! curl http://127.0.0.1:8080/
//! ```
//!
//! Bodies are streamed both ways, with their trailers. Gateway and consumer are in one process, with a private
//! nats-server (or that of `--nats-url` or the environment variable `NATS_URL`). Ctrl-C and SIGTERM end the program.

use std::convert::Infallible;
use std::future::{IntoFuture, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use clap::Parser;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use narun_examples::http as server;
use narun_examples::nats::{self, Nats};
use narun_examples::say;
use narun_examples::signal::Shutdown;
use narun_gateway::{Gateway, Route};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A trailer.
const MOOD: HeaderName = HeaderName::from_static("x-mood");

/// Puts an HTTP server behind NATS.
#[derive(Parser)]
struct Args {
    /// Where HTTP is served; port 0 for any free port.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A nats-server to use instead of a private one.
    #[arg(long, env = "NATS_URL", hide_env_values = true)]
    nats_url: Option<String>,
    /// The server that requests are forwarded to, as http://HOST:PORT; by default one of the program's own.
    #[arg(long)]
    target: Option<Uri>,
    /// Send requests to the program's own server, and stop.
    #[arg(long, conflicts_with = "target")]
    once: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log();
    narun_examples::exit(start(Args::parse()).await)
}

async fn start(args: Args) -> anyhow::Result<()> {
    let listener = server::listen(&[args.listen.to_string()], "--listen").await?;
    let shutdown = Shutdown::on_signal()?;
    let target = match args.target {
        Some(target) => authority(&target)?,
        None => existing(shutdown.begun()).await?,
    };
    let nats = Nats::at_or_private(args.nats_url)?;
    let result = run(listener, nats.url(), target, shutdown, args.once).await;
    nats.stop()?;
    result
}

/// The part of a URL that connections are made to, if there is no other.
fn authority(target: &Uri) -> anyhow::Result<Authority> {
    let parts = target.clone().into_parts();
    let bare = parts.path_and_query.is_none_or(|path| path == "/");
    match parts.authority {
        Some(authority) if parts.scheme == Some(Scheme::HTTP) && bare => Ok(authority),
        _ => bail!("--target must be http://HOST:PORT"),
    }
}

async fn run(
    listener: TcpListener,
    nats_url: &str,
    target: Authority,
    shutdown: Shutdown,
    once: bool,
) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let service = tower::service_fn(move |request| {
        let response = forward(client.clone(), target.clone(), request);
        async { Ok::<_, Infallible>(response.await.unwrap_or_else(|error| bad_gateway(&error))) }
    });
    let (started, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let consumer = narun_consumer::serve(nats::connect(nats_url, "proxy").await?, "existing", service)
        .on_ready(|| started.send(()).unwrap_or_default())
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let mut consumer = tokio::spawn(consumer.into_future());

    let gateway = Gateway::builder(nats::connect(nats_url, "gateway").await?)
        .route(Route::any("/", "existing").prefix())
        .build()
        .await?;
    let address = listener.local_addr()?;
    let http = tokio::spawn(server::serve(listener, gateway.service(), shutdown.begun()));
    let requests = async {
        is_ready.await.context("the consumer did not start")?;
        say!("ready http://{address}");
        if once {
            ask(address).await?;
            shutdown.begin();
        }
        shutdown.begun().await;
        anyhow::Ok(())
    };
    tokio::select! {
        result = requests => result?,
        () = shutdown.begun() => {}
        result = &mut consumer => return result?.context("the consumer ended"),
        () = gateway.closed() => bail!("the gateway's connection to NATS is dead"),
    }
    http.await?;
    gateway.shutdown(Duration::ZERO).await;
    drop(stop);
    consumer.await?.context("the consumer ended")
}

/// Forwards a request that came over NATS to the existing server.
///
/// Hop-by-hop fields do not cross NATS in either direction. The gateway puts the client's address, and the original host
/// and scheme, into `Forwarded` and `X-Forwarded-…`.
async fn forward(
    client: Client<HttpConnector, narun_consumer::Body>,
    target: Authority,
    mut request: http::Request<narun_consumer::Body>,
) -> Result<Response, legacy::Error> {
    let path = request.uri().path_and_query().cloned();
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(target);
    // With a path, a scheme and an authority, building never fails.
    *request.uri_mut() =
        uri.path_and_query(path.unwrap_or(PathAndQuery::from_static("/"))).build().unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    let fields = request.headers_mut();
    // The client adds the one that fits the URI.
    fields.remove(header::HOST);
    // The gateway sends 100 (Continue) when this body is first polled.
    fields.remove(header::EXPECT);
    // Always asks for trailers; the gateway's server drops them if the client does not accept them.
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("te"));
    fields.append(header::VIA, HeaderValue::from_static("1.1 narun"));
    Ok(client.request(request).await?.map(Body::new))
}

fn bad_gateway(error: &legacy::Error) -> Response {
    tracing::warn!(error = error as &dyn std::error::Error, "the server does not respond");
    (StatusCode::BAD_GATEWAY, "the server behind narun does not respond\n").into_response()
}

/// Runs a server that knows nothing of NATS.
async fn existing(shutdown: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<Authority> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let authority = listener.local_addr()?.to_string().parse()?;
    let router = Router::new()
        .route("/", get(async || "a server that knows nothing of NATS\n"))
        .route("/fields", get(fields))
        .route("/shout", post(shout));
    tokio::spawn(server::serve(listener, router, shutdown));
    Ok(authority)
}

/// Responds with the fields of the request.
async fn fields(request: Request) -> String {
    request.headers().iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect()
}

/// Responds with the request's body in capitals, streamed, and with its trailers.
async fn shout(request: Request) -> Response {
    let trailer = request.headers().get(header::TRAILER).cloned();
    let body = request.into_body();
    let body = body.map_frame(|frame| frame.map_data(|data| Bytes::from(data.to_ascii_uppercase())));
    let mut response = Response::new(Body::new(body));
    response.headers_mut().extend(trailer.map(|trailer| (header::TRAILER, trailer)));
    response
}

/// Sends requests, and prints and checks the responses.
async fn ask(server: SocketAddr) -> anyhow::Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http();

    let trailers = HeaderMap::from_iter([(MOOD, HeaderValue::from_static("loud"))]);
    let pieces = ["streamed ", "both ", "ways"].map(|piece| Ok::<_, Infallible>(Frame::data(piece.into())));
    let body =
        StreamBody::new(futures::stream::iter(pieces)).with_trailers(ready(Some(Ok(trailers.clone()))));
    let request = http::Request::post(format!("http://{server}/shout"))
        .header(header::TRAILER, MOOD.as_str())
        .header(header::TE, "trailers")
        .header(header::CONNECTION, "te")
        .body(Body::new(body))?;
    let (head, body) = client.request(request).await?.into_parts();
    let body = body.collect().await?;
    let got = body.trailers().cloned().unwrap_or_default();
    let text = String::from_utf8(body.to_bytes().into())?;
    say!("POST /shout -> {} {text} {got:?}", head.status);
    ensure!(head.status == StatusCode::OK && text == "STREAMED BOTH WAYS" && got == trailers);

    let request = http::Request::get(format!("http://{server}/fields"))
        .header("x-for-all", "1")
        .header("x-for-the-gateway", "2")
        .header(header::CONNECTION, "x-for-the-gateway")
        .body(Body::empty())?;
    let (head, body) = client.request(request).await?.into_parts();
    let text = String::from_utf8(body.collect().await?.to_bytes().into())?;
    say!("GET /fields -> {}\n{text}", head.status);
    let came = |name| text.lines().any(|line| line.starts_with(&format!("{name}: ")));
    ensure!(came("x-for-all") && came("x-forwarded-for") && !came("x-for-the-gateway"));
    Ok(())
}
