//! A hyper server without a router.

use std::error::Error as StdError;
use std::io;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket};
use tower::Service;

use super::parent;
use crate::Error;

/// The size of small buffers.
const SMALL: u32 = 64 * 1024;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

/// The protocol of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Protocol {
    #[default]
    Http1,
    /// HTTP/1.1 with small buffers of hyper and the system, so that a slow reader soon stops the sender.
    Http1Small,
    /// HTTP/2 only.
    Http2,
}

/// Serves HTTP/1.1 on a free port until the process ends.
pub(super) async fn serve<S, B>(service: S) -> Result<(), Error>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    serve_as(Protocol::Http1, service).await
}

/// Serves on a free port until the process ends.
pub(super) async fn serve_as<S, B>(protocol: Protocol, service: S) -> Result<(), Error>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn StdError + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let listener = listen(protocol)?;
    parent::ready(listener.local_addr()?);
    let mut http1 = http1::Builder::new();
    if protocol == Protocol::Http1Small {
        http1.max_buf_size(SMALL as usize);
    }
    let http2 = http2::Builder::new(TokioExecutor::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (stream, service) = (TokioIo::new(stream), TowerToHyperService::new(service.clone()));
        // A client that leaves is no error of the server.
        match protocol {
            Protocol::Http1 | Protocol::Http1Small => {
                let connection = http1.serve_connection(stream, service);
                tokio::spawn(async { drop(connection.await) });
            }
            Protocol::Http2 => {
                let connection = http2.serve_connection(stream, service);
                tokio::spawn(async { drop(connection.await) });
            }
        }
    }
}

fn listen(protocol: Protocol) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    if protocol == Protocol::Http1Small {
        // Accepted connections inherit it.
        socket.set_send_buffer_size(SMALL)?;
    }
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    socket.listen(BACKLOG)
}
