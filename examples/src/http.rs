//! An HTTP server on hyper alone: HTTP/1.1, and HTTP/2 with prior knowledge.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use narun_gateway::Peer;
use tokio::net::TcpListener;
use tower::{Service, ServiceExt};

/// How long requests in flight may take after the shutdown has begun.
const PATIENCE: Duration = Duration::from_secs(20);

/// The interval and the timeout of HTTP/2 keepalive, which detects clients that died without closing their connection.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// The pause after a connection could not be accepted, for example because the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on the first of these addresses that is free. `setting` names the option that sets them, for the error.
///
/// # Errors
///
/// If no address is free, for example because another program has the port; the error says what to do.
pub async fn listen(addresses: &[String], setting: &str) -> anyhow::Result<TcpListener> {
    let mut last = anyhow!("no address");
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error.into(),
        }
    }
    let addresses = addresses.join(" or ");
    Err(last.context(format!(
        "cannot listen on {addresses} (choose another address with {setting}; port 0 takes any free port)"
    )))
}

/// Serves until `shutdown` completes, then finishes the requests in flight.
///
/// Requests have the [`Peer`] in their extensions, where a gateway looks for it.
pub async fn serve<S, B>(listener: TcpListener, service: S, shutdown: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    let (every, limit) = KEEPALIVE;
    server.http2().timer(TokioTimer::new()).keep_alive_interval(every).keep_alive_timeout(limit);
    let connections = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Otherwise small responses would wait for the acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
        let peer = Peer::new(address, Scheme::HTTP);
        let service = service.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            service.clone().oneshot(request)
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection broke off");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(PATIENCE, connections.shutdown()).await.is_err() {
        tracing::warn!("requests are still in flight, and are aborted");
    }
}
