//! The part of the NATS protocol that is needed to ask a server for its state.

#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to say what it says at once.
const LIMIT: Duration = Duration::from_secs(2);

/// How long a request may be unanswered until it is sent again.
const RETRY: Duration = Duration::from_millis(250);

/// A connection to a server on this machine.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    greeting: String,
}

impl Connection {
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let mut stream = BufReader::new(stream);
        let mut greeting = String::new();
        stream.read_line(&mut greeting)?;
        Ok(Self { stream, greeting })
    }

    /// The first line that the server sends, `INFO {…}`.
    pub(crate) fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Sends a request and returns the payload of the response.
    ///
    /// Servers of a cluster drop a request while a stream has no leader, and a response while they have not heard of
    /// the subscription. So the request is sent every [`RETRY`] until the response arrives or `limit` has elapsed. All
    /// copies have the same `Nats-Msg-Id`: a stream stores one of them.
    pub(crate) fn request(mut self, subject: &str, payload: &str, limit: Duration) -> io::Result<String> {
        let deadline = Instant::now() + limit;
        let headers = format!("NATS/1.0\r\nNats-Msg-Id: {}\r\n\r\n", message_id());
        let (start, size) = (headers.len(), headers.len() + payload.len());
        let request = format!("HPUB {subject} response {start} {size}\r\n{headers}{payload}\r\n");
        let connect = "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB response 1\r\n";
        self.stream.get_mut().write_all(connect.as_bytes())?;

        let mut line = String::new();
        let mut retry_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            if now >= retry_at {
                self.stream.get_mut().write_all(request.as_bytes())?;
                retry_at = now + RETRY;
            }
            let wait = retry_at.min(deadline).saturating_duration_since(now);
            // A timeout of zero is invalid.
            self.stream.get_ref().set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
            match self.stream.read_line(&mut line) {
                Ok(_) if line.ends_with('\n') => {}
                Ok(_) => return Err(ErrorKind::UnexpectedEof.into()),
                // What was read of the line stays in it.
                Err(error) if is_timeout(&error) => continue,
                Err(error) => return Err(error),
            }
            if let Some(message) = line.strip_prefix("MSG response ") {
                let size = message.split_whitespace().next_back().and_then(|size| size.parse().ok());
                return self.payload(size.ok_or_else(|| unexpected(&line))?);
            }
            if line.starts_with("-ERR") {
                return Err(unexpected(&line));
            }
            line.clear();
        }
    }

    fn payload(&mut self, size: usize) -> io::Result<String> {
        self.stream.get_ref().set_read_timeout(Some(LIMIT))?;
        let mut payload = vec![0; size];
        self.stream.read_exact(&mut payload)?;
        String::from_utf8(payload).map_err(io::Error::other)
    }
}

/// An id that no other request to any private server has.
fn message_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("narun-support-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether a read timed out; which of the two kinds it is depends on the system.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn unexpected(line: &str) -> io::Error {
    io::Error::other(format!("unexpected: {line:?}"))
}
