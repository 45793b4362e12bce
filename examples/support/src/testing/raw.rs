use std::net::Ipv4Addr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Publishes a message whose header contains a lone CR, which no client sends. It ends the connection task of each
/// async-nats client that receives it, for good.
///
/// # Panics
///
/// If no server on this port accepts it.
pub async fn poison(port: u16, subject: &str) {
    const HEADER: &str = "NATS/1.0\r\nName: a\rb\r\n\r\n";
    let mut stream =
        BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("a connection"));
    let size = HEADER.len();
    let commands = format!(
        "CONNECT {{\"verbose\":false,\"headers\":true}}\r\nHPUB {subject} {size} {size}\r\n{HEADER}\r\nPING\r\n"
    );
    stream.write_all(commands.as_bytes()).await.expect("commands sent");
    let mut line = String::new();
    while line != "PONG\r\n" {
        line.clear();
        let read = stream.read_line(&mut line).await.expect("a line");
        assert!(read > 0 && !line.starts_with("-ERR"), "{line}");
    }
}
