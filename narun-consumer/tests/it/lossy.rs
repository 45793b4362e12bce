//! A connection that loses messages.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use narun_core::frame::Frame;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Returns whether a frame is dropped.
type Rule = Box<dyn FnMut(&Frame) -> bool + Send>;

/// A proxy to a nats-server that drops the published frames that a test selects.
pub(crate) struct Lossy {
    url: String,
    rule: Arc<Mutex<Option<Rule>>>,
    task: AbortHandle,
}

impl Lossy {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("nats://{}", listener.local_addr().expect("an address"));
        let rule = Arc::new(Mutex::new(None));
        let shared = rule.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let rule: Arc<Mutex<Option<Rule>>> = shared.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                    let (from_client, mut to_client) = client.split();
                    let (mut from_server, to_server) = server.split();
                    tokio::select! {
                        passed = pass(from_client, to_server, &rule) => passed,
                        passed = tokio::io::copy(&mut from_server, &mut to_client) => passed.map(drop),
                    }
                });
            }
        });
        Self { url, rule, task: task.abort_handle() }
    }

    /// Connects a client through the proxy.
    pub(crate) async fn connect(&self) -> Client {
        ConnectOptions::new()
            .reconnect_delay_callback(|_| Duration::from_millis(10))
            .connect(&self.url)
            .await
            .expect("a connection")
    }

    /// Drops the first frame for which this returns `true`.
    pub(crate) fn lose(&self, rule: impl FnMut(&Frame) -> bool + Send + 'static) {
        *self.rule.lock().expect("no panic") = Some(Box::new(rule));
    }

    /// Whether the frame was dropped.
    pub(crate) fn has_lost(&self) -> bool {
        self.rule.lock().expect("no panic").is_none()
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(from: ReadHalf<'_>, mut to: WriteHalf<'_>, rule: &Mutex<Option<Rule>>) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    loop {
        let mut message = Vec::new();
        if from.read_until(b'\n', &mut message).await? == 0 {
            return Ok(());
        }
        let head = message.len();
        let line = String::from_utf8_lossy(&message);
        let is_plain = line.starts_with("PUB ");
        if is_plain || line.starts_with("HPUB ") {
            let length = line.split_whitespace().next_back().and_then(|length| length.parse::<usize>().ok());
            // Including the end of the line.
            message.resize(head + length.expect("a length") + 2, 0);
            from.read_exact(&mut message[head..]).await?;
        }
        let payload = Bytes::copy_from_slice(message[head..].strip_suffix(b"\r\n").unwrap_or_default());
        let lost = match Frame::decode(&payload, &Default::default()) {
            Ok(frame) if is_plain => {
                let mut rule = rule.lock().expect("no panic");
                rule.take_if(|rule| rule(&frame)).is_some()
            }
            _ => false,
        };
        if !lost {
            to.write_all(&message).await?;
        }
    }
}
