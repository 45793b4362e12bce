//! The HTTP load of long bodies. It counts parts of bodies, usually of 1 MiB, so that the rate is in MiB/s.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{self, Instant};

use super::flood::CHUNK;
use super::http_client::{broken, parse};
use crate::Error;
use crate::round::{Connect, RoundTrip, RoundTripError};

/// How long a part may take, in addition to the pace.
const PATIENCE: Duration = Duration::from_secs(10);

/// The system's receive buffer of a connection that is read at a pace.
const SMALL: u32 = 16 * 1024;

/// The bodies that are transferred over each connection.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) upload: bool,
    /// Whether there is one body without an end. Otherwise there are many, of one part each.
    pub(crate) unending: bool,
    /// Bytes in a part.
    pub(crate) part: usize,
    /// The time from one part to the next; `None` for as fast as possible. For unending downloads only.
    pub(crate) pace: Option<Duration>,
}

/// Opens connections to a server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    to: SocketAddr,
    transfer: Transfer,
    connected: Arc<AtomicU32>,
}

impl Connector {
    pub(super) fn new(to: SocketAddr, transfer: Transfer) -> Self {
        Self { to, transfer, connected: Arc::default() }
    }
}

impl Connect for Connector {
    type Connection = BulkConnection;

    async fn connect(&self) -> Result<BulkConnection, Error> {
        let socket = TcpSocket::new_v4()?;
        let mut due = Instant::now();
        if let Some(pace) = self.transfer.pace {
            socket.set_recv_buffer_size(SMALL)?;
            // Spread over time, so that not all connections read at the same moment.
            let number = self.connected.fetch_add(1, Ordering::Relaxed);
            due += pace * (number % 16) / 16;
        }
        let stream = socket.connect(self.to).await?;
        stream.set_nodelay(true)?;
        let (to, transfer) = (self.to, self.transfer);
        Ok(BulkConnection { stream, to, transfer, begun: false, due, buffer: vec![0; 256 * 1024] })
    }
}

/// A connection with one unending body, or with one body after the other.
#[derive(Debug)]
pub(super) struct BulkConnection {
    stream: TcpStream,
    to: SocketAddr,
    transfer: Transfer,
    /// Whether the body without an end has begun.
    begun: bool,
    /// When the next part is due.
    due: Instant,
    buffer: Vec<u8>,
}

impl RoundTrip for BulkConnection {
    async fn once(&mut self) -> Result<(), RoundTripError> {
        if let Some(pace) = self.transfer.pace {
            time::sleep_until(self.due).await;
            self.due += pace;
        }
        let part = time::timeout(PATIENCE, self.part());
        part.await.map_err(|_| RoundTripError::Broken("starved".to_owned()))?
    }
}

impl BulkConnection {
    async fn part(&mut self) -> Result<(), RoundTripError> {
        let Transfer { upload, unending, part, .. } = self.transfer;
        match (upload, unending) {
            (false, true) => {
                let mut received = 0;
                if !std::mem::replace(&mut self.begun, true) {
                    self.send(&format!("GET /load/down HTTP/1.1\r\nhost: {}\r\n\r\n", self.to)).await?;
                    received = self.head().await?.1;
                }
                self.receive(part.saturating_sub(received)).await
            }
            (false, false) => {
                let request = format!("GET /load/down?{part} HTTP/1.1\r\nhost: {}\r\n\r\n", self.to);
                self.send(&request).await?;
                match self.head().await? {
                    (Some(length), received) if length == part => self.receive(length - received).await,
                    _ => Err(RoundTripError::Broken("wrong length".to_owned())),
                }
            }
            (true, true) => {
                if !std::mem::replace(&mut self.begun, true) {
                    let head = "transfer-encoding: chunked\r\n\r\n";
                    self.send(&format!("POST /load/up HTTP/1.1\r\nhost: {}\r\n{head}", self.to)).await?;
                }
                for chunk in sizes(part) {
                    self.send(&format!("{chunk:x}\r\n")).await?;
                    self.send_body(chunk).await?;
                    self.send("\r\n").await?;
                }
                Ok(())
            }
            (true, false) => {
                let head = format!("content-length: {part}\r\n\r\n");
                self.send(&format!("POST /load/up HTTP/1.1\r\nhost: {}\r\n{head}", self.to)).await?;
                for chunk in sizes(part) {
                    self.send_body(chunk).await?;
                }
                match self.head().await? {
                    (Some(length), received) if length == part.to_string().len() => {
                        self.receive(length - received).await
                    }
                    _ => Err(RoundTripError::Broken("wrong length".to_owned())),
                }
            }
        }
    }

    async fn send(&mut self, text: &str) -> Result<(), RoundTripError> {
        self.stream.write_all(text.as_bytes()).await.map_err(|error| broken(&error))
    }

    async fn send_body(&mut self, length: usize) -> Result<(), RoundTripError> {
        self.stream.write_all(&CHUNK[..length]).await.map_err(|error| broken(&error))
    }

    /// Receives a response's head. Returns its `Content-Length`, if there is one, and the number of bytes of the body
    /// that were received with the head.
    async fn head(&mut self) -> Result<(Option<usize>, usize), RoundTripError> {
        let mut received = BytesMut::with_capacity(16 * 1024);
        loop {
            if self.stream.read_buf(&mut received).await.map_err(|error| broken(&error))? == 0 {
                return Err(RoundTripError::Broken("closed".to_owned()));
            }
            match parse(&received)? {
                Some(head) if head.status == 200 => return Ok((head.body, received.len() - head.length)),
                Some(head) => return Err(RoundTripError::Broken(head.status.to_string())),
                None => {}
            }
        }
    }

    async fn receive(&mut self, mut length: usize) -> Result<(), RoundTripError> {
        while length > 0 {
            let most = length.min(self.buffer.len());
            match self.stream.read(&mut self.buffer[..most]).await {
                Ok(0) => return Err(RoundTripError::Broken("closed".to_owned())),
                Ok(received) => length -= received,
                Err(error) => return Err(broken(&error)),
            }
        }
        Ok(())
    }
}

/// The sizes of the chunks of a body of this length.
fn sizes(mut length: usize) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let chunk = length.min(CHUNK.len());
        length -= chunk;
        Some(chunk).filter(|chunk| *chunk > 0)
    })
}
