//! The NATS protocol, as far as the tests need it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// The server's greeting, `INFO {…}`.
    pub(crate) info: String,
}

impl Connection {
    pub(crate) fn open(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
        let mut connection = Self { stream: BufReader::new(stream), info: String::new() };
        connection.info = connection.line();
        assert!(connection.info.starts_with("INFO {"), "{}", connection.info);
        connection
    }

    /// Sends a request and returns the payload of the answer.
    pub(crate) fn request(&mut self, subject: &str, payload: &str) -> String {
        let size = payload.len();
        write!(
            self.stream.get_mut(),
            "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\n\
             PUB {subject} answer {size}\r\n{payload}\r\n"
        )
        .expect("a request sent");
        loop {
            let line = self.line();
            if let Some(message) = line.strip_prefix("MSG answer ") {
                let size = message.split_whitespace().next_back().expect("a size");
                let mut answer = vec![0; size.parse().expect("a size")];
                self.stream.read_exact(&mut answer).expect("a payload");
                return String::from_utf8(answer).expect("a text");
            }
            assert!(!line.starts_with("-ERR"), "{line}");
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n'), "the server closed the connection");
        line
    }
}

/// The whole response of an HTTP server.
pub(crate) fn http_get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a time limit");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("a request");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response
}

/// Whether somebody listens; a connection that by chance was given that port itself, and so leads
/// to itself, is nobody.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .and_then(|stream| Ok(stream.local_addr()? != stream.peer_addr()?))
        .unwrap_or(false)
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
