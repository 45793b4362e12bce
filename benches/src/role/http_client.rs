//! The HTTP load: a connection, one request at a time.

use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Error;
use crate::round::{Connect, Exchange, Failure};

/// Opens connections to a server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    to: SocketAddr,
    request: Request<Full<Bytes>>,
    length: usize,
}

impl Connector {
    /// Requests are POSTs with a body of that length.
    pub(super) fn new(to: SocketAddr, length: usize) -> Self {
        let request = Request::post("/load/some/path")
            .header(header::HOST, to.to_string())
            .header(header::USER_AGENT, "narun-load")
            .header(header::ACCEPT, "*/*")
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(Full::new(vec![b'x'; length].into()))
            .expect("a valid request");
        Self { to, request, length }
    }
}

impl Connect for Connector {
    type Exchange = Connection;

    async fn connect(&self) -> Result<Connection, Error> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Connection { sender, connection, connector: self.clone() })
    }
}

/// A connection that is kept alive.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Polled in the same task as the sender, which saves waking another one and back.
    connection: http1::Connection<TokioIo<TcpStream>, Full<Bytes>>,
    connector: Connector,
}

impl Exchange for Connection {
    async fn once(&mut self) -> Result<(), Failure> {
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(self.connector.request.clone()).await?;
            let status = response.status();
            let mut body = response.into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame?.data_ref().map_or(0, Bytes::len);
            }
            Ok((status, length))
        };
        let mut exchange = pin!(exchange);
        let result = tokio::select! {
            biased;
            result = &mut exchange => result,
            // What it has read before it closed is still to be had, and so is why it closed.
            _ = &mut self.connection => exchange.await,
        };
        let (status, length) = result.map_err(broken)?;
        if status != StatusCode::OK {
            return Err(Failure::Answer(status.as_u16().to_string()));
        }
        if length != self.connector.length {
            return Err(Failure::Answer("wrong length".to_owned()));
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so it fits map_err")]
fn broken(error: hyper::Error) -> Failure {
    Failure::Broken(error.to_string())
}
