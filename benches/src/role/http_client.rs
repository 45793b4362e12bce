//! The HTTP load: connections with one request at a time.
//!
//! The request is encoded once, and the response is parsed only enough to know that it is complete and correct: CPU
//! time of the load generator is not available to the programs that it measures.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::app::NatsApp;
use super::backlog::Backlog;
use crate::Error;
use crate::round::{Connect, RoundTrip, RoundTripError};

/// More fields than a measured server sends.
const FIELDS: usize = 32;

/// Opens connections to a server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    to: SocketAddr,
    request: Bytes,
    /// The status of a good response, and the length of its body if that is known.
    status: u16,
    length: Option<usize>,
    backlog: Option<Backlog>,
}

impl Connector {
    /// Requests are POSTs with a body of this length. With `later` they prefer 202, and are made only as fast as they
    /// are done.
    pub(super) async fn new(to: SocketAddr, length: usize, later: Option<NatsApp>) -> Result<Self, Error> {
        let prefer = if later.is_some() { "prefer: respond-async\r\n" } else { "" };
        let mut request = format!(
            "POST /load/some/path HTTP/1.1\r\nhost: {to}\r\nuser-agent: narun-load\r\naccept: */*\r\n\
             content-type: application/octet-stream\r\ncontent-length: {length}\r\n{prefer}\r\n"
        )
        .into_bytes();
        request.resize(request.len() + length, b'x');
        let backlog = match &later {
            Some(at) => Some(Backlog::watch(at).await?),
            None => None,
        };
        let (status, length) = if later.is_some() { (202, None) } else { (200, Some(length)) };
        Ok(Self { to, request: request.into(), status, length, backlog })
    }
}

impl Connect for Connector {
    type Connection = HttpConnection;

    async fn connect(&self) -> Result<HttpConnection, Error> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        Ok(HttpConnection { stream, received: BytesMut::with_capacity(64 * 1024), connector: self.clone() })
    }

    async fn backlog(&self) -> Option<u64> {
        self.backlog.as_ref()?.now().await
    }
}

/// A connection that is kept alive.
#[derive(Debug)]
pub(super) struct HttpConnection {
    stream: TcpStream,
    received: BytesMut,
    connector: Connector,
}

/// A response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// The length of the head.
    pub(super) length: usize,
    /// The length of the body, if there is a `Content-Length`.
    pub(super) body: Option<usize>,
}

impl RoundTrip for HttpConnection {
    async fn once(&mut self) -> Result<(), RoundTripError> {
        if let Some(backlog) = &mut self.connector.backlog {
            backlog.room().await;
        }
        self.stream.write_all(&self.connector.request).await.map_err(|error| broken(&error))?;
        self.received.clear();
        let head = loop {
            self.receive().await?;
            if let Some(head) = parse(&self.received)? {
                break head;
            }
        };
        // These servers always send a Content-Length.
        let body = head.body.ok_or_else(|| RoundTripError::Broken("no content-length".to_owned()))?;
        while self.received.len() < head.length + body {
            self.receive().await?;
        }
        if self.received.len() > head.length + body {
            return Err(RoundTripError::Broken("bytes after the response".to_owned()));
        }
        if head.status != self.connector.status {
            return Err(RoundTripError::Response(head.status.to_string()));
        }
        if self.connector.length.is_some_and(|length| body != length) {
            return Err(RoundTripError::Response("wrong length".to_owned()));
        }
        Ok(())
    }
}

impl HttpConnection {
    async fn receive(&mut self) -> Result<(), RoundTripError> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err(RoundTripError::Broken("closed".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(&error)),
        }
    }
}

/// Parses a head. Returns `None` if it is not complete.
pub(super) fn parse(received: &[u8]) -> Result<Option<Head>, RoundTripError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(received).map_err(|error| RoundTripError::Broken(error.to_string()))?;
    let httparse::Status::Complete(length) = parsed else { return Ok(None) };
    let body = response
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok());
    Ok(Some(Head { status: response.code.unwrap_or_default(), length, body }))
}

pub(super) fn broken(error: &std::io::Error) -> RoundTripError {
    RoundTripError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_parsed_when_it_is_complete() {
        let text = b"HTTP/1.1 503 Busy\r\ndate: now\r\nContent-Length: 3\r\n\r\nabc";
        assert!(matches!(parse(&text[..40]), Ok(None)));
        let head = parse(text).ok().flatten();
        assert_eq!(head, Some(Head { status: 503, length: text.len() - 3, body: Some(3) }));
        assert!(matches!(parse(b"HTTP/1.1 200 OK\r\n\r\n"), Ok(Some(Head { body: None, .. }))));
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
