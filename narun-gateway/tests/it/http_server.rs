//! HTTP servers with a gateway, and connections to them byte by byte.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use narun_gateway::{Body, Gateway, ResponseBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tower::Service;

use crate::harness::soon;

/// An HTTP server of a gateway.
pub(crate) struct Http {
    address: SocketAddr,
    task: AbortHandle,
}

impl Http {
    pub(crate) async fn start(gateway: &Gateway) -> Self {
        Self::start_with(gateway.service(), |_| {}).await
    }

    /// A server of HTTP/1.1 and HTTP/2 with these settings.
    pub(crate) async fn start_with<S>(service: S, set: impl FnOnce(&mut auto::Builder<TokioExecutor>)) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<ResponseBody<Body>>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let mut server = auto::Builder::new(TokioExecutor::new());
        set(&mut server);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (server, service) = (server.clone(), TowerToHyperService::new(service.clone()));
                // Whether it ends with an error depends on the client.
                tokio::spawn(
                    async move { server.serve_connection(TokioIo::new(stream), service).await.ok() },
                );
            }
        };
        Self { address, task: tokio::spawn(accept).abort_handle() }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Opens a connection and sends this.
    pub(crate) async fn send(&self, request: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads until `end`.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    soon(end, async {
        while !text.ends_with(end) {
            let byte = stream.read_u8().await.expect("a byte");
            text.push(byte.into());
        }
    })
    .await;
    text
}

/// Reads until the connection ends.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Whether it ends with an error depends on TCP.
    let _ = soon("the end of a connection", stream.read_to_end(&mut bytes)).await;
    bytes
}

/// Reads the head of a response, and returns its status.
pub(crate) async fn status(stream: &mut TcpStream) -> u16 {
    let head = read_until(stream, "\r\n\r\n").await;
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}
