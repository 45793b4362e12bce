//! An HTTP server on hyper alone: HTTP/1.1, and HTTP/2 with prior knowledge.

mod limits;
mod watched;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use narun_gateway::Peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Service, ServiceExt};

use self::watched::{Requests, Watched};

pub use self::limits::HttpLimits;

/// How long requests in flight may take after the shutdown has begun.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest read buffer of an HTTP/1.1 connection, and the largest head. A body that has to wait holds this much.
const MAX_BUFFER: usize = 80 * 1024;

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

/// Serves with the default [`HttpLimits`], see [`serve_with`].
pub async fn serve<S, B>(listener: TcpListener, service: S, shutdown: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serve_with(HttpLimits::default(), listener, service, shutdown).await;
}

/// Serves until `shutdown` completes, then finishes the requests in flight.
///
/// Requests have the [`Peer`] in their extensions, where a gateway looks for it.
pub async fn serve_with<S, B>(
    limits: HttpLimits,
    listener: TcpListener,
    service: S,
    shutdown: impl Future<Output = ()>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    // `Watched` limits the time of a head.
    server.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_BUFFER);
    let (every, limit) = KEEPALIVE;
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(every)
        .keep_alive_timeout(limit)
        .max_concurrent_streams(limits.streams);
    let places = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let connections = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut shutdown => break,
        };
        let (stream, address, place) = match accepted {
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
        let (service, requests) = (service.clone(), Requests::default());
        let stream = Watched::new(stream, limits, requests.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            let in_flight = requests.begin(request.version());
            let response = service.clone().oneshot(request);
            async move {
                let response = response.await?;
                // The request is in flight until the end of the response's body, which owns this closure.
                let to_the_end = move |error| {
                    let _ = &in_flight;
                    error
                };
                Ok::<_, Infallible>(response.map(|body| body.map_err(to_the_end)))
            }
        });
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection broke off");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(PATIENCE, connections.shutdown()).await.is_err() {
        tracing::warn!("requests are still in flight, and are aborted");
    }
}

/// Accepts a connection when there is a place for it. Cancel safe.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = match places.clone().try_acquire_owned() {
        Ok(place) => place,
        Err(_) => {
            tracing::debug!("as many connections are open as are permitted");
            places.clone().acquire_owned().await.map_err(io::Error::other)?
        }
    };
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, place))
}
