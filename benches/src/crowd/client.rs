//! One connection of a crowd.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, watch};
use tokio::time::{self, Instant};

use crate::Error;

/// The length of an upload: the most that a durable request may have by default.
const LENGTH: usize = 10 * 1024 * 1024;

/// How much is written at a time.
static PART: [u8; 65_536] = [b'x'; 65_536];

/// The pause between two bytes that drip.
const PAUSE: Duration = Duration::from_secs(1);

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Upload,
    Idle,
    DripHead,
    DripBody,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// With a response of this status.
    Response(u16),
    /// The server closed it.
    Closed,
    /// Not before the limit.
    Open,
    /// It could not be opened.
    NotOpened,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(status) => write!(f, "got {status}"),
            Self::Closed => f.write_str("closed"),
            Self::Open => f.write_str("still open"),
            Self::NotOpened => f.write_str("not opened"),
        }
    }
}

/// What uploads share.
#[derive(Clone, Debug)]
pub(super) struct Upload {
    /// How many have sent all but their last byte.
    pub(super) sent: Arc<AtomicU64>,
    /// Whether to send the last byte.
    pub(super) last: watch::Receiver<bool>,
}

/// Runs a connection to its end.
pub(super) async fn run(
    kind: Kind,
    to: SocketAddr,
    opening: Arc<Semaphore>,
    upload: Upload,
    limit: Instant,
) -> Ending {
    let stream = {
        let _permit = opening.acquire().await;
        TcpStream::connect(to).await
    };
    let Ok(stream) = stream else { return Ending::NotOpened };
    let (reader, writer) = stream.into_split();
    let exchange = async {
        let response = response(reader);
        let send = async {
            // Kept open: a client that closes its side is gone. The response says what is wrong if this fails.
            let _writer = send(kind, writer, upload).await;
            std::future::pending::<Ending>().await
        };
        tokio::select! {
            ending = response => ending,
            ending = send => ending,
        }
    };
    time::timeout_at(limit, exchange).await.unwrap_or(Ending::Open)
}

async fn send(kind: Kind, mut to: OwnedWriteHalf, mut upload: Upload) -> std::io::Result<OwnedWriteHalf> {
    let head = format!(
        "POST /jobs/x HTTP/1.1\r\nHost: a.example\r\nPrefer: respond-async\r\nContent-Length: {LENGTH}\r\n\r\n"
    );
    match kind {
        Kind::Idle => {}
        Kind::Upload => {
            to.write_all(head.as_bytes()).await?;
            for _ in 1..LENGTH / PART.len() {
                to.write_all(&PART).await?;
            }
            to.write_all(&PART[1..]).await?;
            upload.sent.fetch_add(1, Ordering::Relaxed);
            // An error means that the program ends.
            let _ = upload.last.wait_for(|all| *all).await;
            to.write_all(b"x").await?;
        }
        Kind::DripHead => {
            for byte in head.as_bytes().iter().cycle() {
                to.write_all(&[*byte]).await?;
                time::sleep(PAUSE).await;
            }
        }
        Kind::DripBody => {
            to.write_all(head.as_bytes()).await?;
            loop {
                to.write_all(b"x").await?;
                time::sleep(PAUSE).await;
            }
        }
    }
    Ok(to)
}

/// Waits for a response's status line, or the end of the connection.
async fn response(mut from: OwnedReadHalf) -> Ending {
    let mut received = Vec::new();
    while let Ok(1..) = from.read_buf(&mut received).await {
        let status = received.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        if let Some(status) = status {
            return Ending::Response(status);
        }
    }
    Ending::Closed
}

/// Waits until the gateway accepts durable requests.
pub(super) async fn until_served(to: SocketAddr, limit: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    loop {
        let mut stream = TcpStream::connect(to).await?;
        let request =
            "POST /jobs/x HTTP/1.1\r\nHost: a.example\r\nPrefer: respond-async\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let (reader, _writer) = stream.into_split();
        match time::timeout_at(deadline, response(reader)).await? {
            Ending::Response(202) => return Ok(()),
            ending if Instant::now() > deadline => {
                return Err(format!("the gateway does not serve: {ending}").into());
            }
            _ => time::sleep(Duration::from_millis(20)).await,
        }
    }
}
