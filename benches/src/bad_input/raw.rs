//! HTTP/1.1 as bytes, so that nothing corrects what is sent.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time;

/// How long a response may take. Longer than any timeout of the gateway.
pub(super) const LIMIT: Duration = Duration::from_secs(25);

/// More fields than any response has.
const FIELDS: usize = 64;

/// A response. The error says why there is none.
pub(super) type Received = Result<RawResponse, String>;

/// A complete response, which is not interim (1xx).
#[derive(Clone, Debug, Default)]
pub(super) struct RawResponse {
    pub(super) status: u16,
    fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl RawResponse {
    /// A response without fields.
    pub(super) fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, fields: Vec::new(), body }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a field. Returns `None` if there is none.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// The values of a field that the handler saw, as it says in the response's body.
    pub(super) fn seen(&self, name: &str) -> Vec<String> {
        let beginning = format!("field {name}: ");
        self.text().lines().filter_map(|line| line.strip_prefix(&beginning)).map(str::to_owned).collect()
    }

    /// A line of the handler's description of the request, such as its `target`. Returns `None` if there is none.
    pub(super) fn described(&self, what: &str) -> Option<String> {
        let beginning = format!("{what} ");
        self.text().lines().find_map(|line| line.strip_prefix(&beginning)).map(str::to_owned)
    }
}

impl Connection {
    pub(super) async fn open(to: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(to).await.map_err(|error| format!("not connected: {error}"))?;
        Ok(Self { stream, received: Vec::new() })
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match time::timeout(LIMIT, self.stream.write_all(bytes)).await {
            Ok(sent) => sent.map_err(|error| format!("not sent: {error}")),
            Err(_) => Err(format!("not sent within {LIMIT:?}")),
        }
    }

    /// Waits for a whole response. Interim ones are skipped.
    pub(super) async fn response(&mut self) -> Received {
        match time::timeout(LIMIT, self.read()).await {
            Ok(received) => received,
            Err(_) => Err(format!("no response within {LIMIT:?}")),
        }
    }

    /// Waits for an interim response. Returns its status.
    pub(super) async fn interim(&mut self) -> Result<u16, String> {
        let head = async {
            loop {
                if let Some((response, end)) = head(&self.received)? {
                    self.received.drain(..end);
                    return Ok(response.status);
                }
                self.more().await?;
            }
        };
        time::timeout(LIMIT, head).await.map_err(|_| format!("no response within {LIMIT:?}"))?
    }

    /// Closes the client's side alone.
    pub(super) async fn half_close(&mut self) -> Result<(), String> {
        self.stream.shutdown().await.map_err(|error| format!("not closed: {error}"))
    }

    /// Waits for this many bytes.
    pub(super) async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, String> {
        let bytes = async {
            while self.received.len() < count {
                self.more().await?;
            }
            Ok(self.received.drain(..count).collect())
        };
        time::timeout(LIMIT, bytes).await.map_err(|_| format!("no response within {LIMIT:?}"))?
    }

    /// Waits for the end of the connection, and returns what was received before.
    pub(super) async fn end(&mut self) -> Result<Vec<u8>, String> {
        let end = async { while self.more().await.is_ok() {} };
        time::timeout(LIMIT, end).await.map_err(|_| format!("open after {LIMIT:?}"))?;
        Ok(std::mem::take(&mut self.received))
    }

    async fn read(&mut self) -> Received {
        let (mut response, end) = loop {
            match head(&self.received)? {
                Some((response, end)) if response.status < 200 => {
                    self.received.drain(..end);
                }
                Some(found) => break found,
                None => self.more().await?,
            }
        };
        self.received.drain(..end);
        if response.field("transfer-encoding").is_some() {
            response.body = self.chunks().await?;
        } else if let Some(length) = response.field("content-length") {
            let length = length.parse().map_err(|_| "an invalid Content-Length")?;
            while self.received.len() < length {
                self.more().await?;
            }
            response.body = self.received.drain(..length).collect();
        } else if !matches!(response.status, 204 | 304) {
            while self.more().await.is_ok() {}
            response.body = std::mem::take(&mut self.received);
        }
        Ok(response)
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            match httparse::parse_chunk_size(&self.received) {
                Ok(httparse::Status::Complete((start, size))) => {
                    let size = usize::try_from(size).map_err(|_| "a chunk is too large")?;
                    while self.received.len() < start + size + 2 {
                        self.more().await?;
                    }
                    body.extend_from_slice(&self.received[start..start + size]);
                    self.received.drain(..start + size + 2);
                    if size == 0 {
                        return Ok(body);
                    }
                }
                Ok(httparse::Status::Partial) => self.more().await?,
                Err(_) => return Err("an invalid chunk".to_owned()),
            }
        }
    }

    /// Receives more bytes.
    async fn more(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) if self.received.is_empty() => Err("closed without a response".to_owned()),
            Ok(0) => Err("closed within a response".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("nothing received: {error}")),
        }
    }
}

/// Parses a head, and returns its end. Returns `None` if it is not complete.
fn head(received: &[u8]) -> Result<Option<(RawResponse, usize)>, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(received).map_err(|error| format!("an invalid response: {error}"))?;
    let httparse::Status::Complete(end) = parsed else { return Ok(None) };
    let fields = response.headers.iter();
    let fields =
        fields.map(|field| (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned()));
    let status = response.code.unwrap_or_default();
    Ok(Some((RawResponse { status, fields: fields.collect(), body: Vec::new() }, end)))
}

/// Sends bytes over a connection of their own, all of them before it reads the response.
pub(super) async fn exchange(to: SocketAddr, bytes: impl AsRef<[u8]>) -> Received {
    let mut connection = Connection::open(to).await?;
    connection.send(bytes.as_ref()).await?;
    connection.response().await
}

/// Requests a path, as a good client does.
pub(super) async fn get(to: SocketAddr, path: &str) -> Received {
    exchange(to, format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await
}

/// Sends a request with these further field lines, each of which ends in CR LF, and this body.
pub(super) async fn post(to: SocketAddr, path: &str, fields: &str, body: &str) -> Received {
    let length = body.len();
    exchange(
        to,
        format!("POST {path} HTTP/1.1\r\nHost: a.example\r\n{fields}Content-Length: {length}\r\n\r\n{body}"),
    )
    .await
}
