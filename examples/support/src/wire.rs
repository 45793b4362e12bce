//! The NATS protocol, as far as it takes to ask a server how it is.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// How long a server may take to say something.
const LIMIT: Duration = Duration::from_secs(2);

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
        let mut connection = Self { stream: BufReader::new(stream), greeting: String::new() };
        connection.greeting = connection.line()?;
        Ok(connection)
    }

    /// What the server says first, `INFO {…}`.
    pub(crate) fn greeting(&self) -> &str {
        &self.greeting
    }

    /// Sends a request and returns the payload of the answer; for one request per connection.
    pub(crate) fn request(mut self, subject: &str, payload: &str) -> io::Result<String> {
        let size = payload.len();
        write!(
            self.stream.get_mut(),
            "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\n\
             PUB {subject} answer {size}\r\n{payload}\r\n"
        )?;
        loop {
            let line = self.line()?;
            if let Some(message) = line.strip_prefix("MSG answer ") {
                let size = message.split_whitespace().next_back().and_then(|size| size.parse().ok());
                let mut answer = vec![0; size.ok_or_else(|| other(&line))?];
                self.stream.read_exact(&mut answer)?;
                return String::from_utf8(answer).map_err(io::Error::other);
            }
            if line.starts_with("-ERR") {
                return Err(other(&line));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.ends_with('\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn other(line: &str) -> io::Error {
    io::Error::other(format!("the server said {line:?}"))
}
