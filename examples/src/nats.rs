//! Connections to NATS, and a private server if there is none.

use std::time::Duration;

use anyhow::Context;
use async_nats::{Client, ConnectOptions, ServerAddr};
use narun_support::{Server, ServerBuilder};

/// The pause between two checks for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// A NATS server: one that the user runs, or a private one, which ends when this value is dropped.
#[derive(Debug)]
pub struct Nats {
    url: String,
    private: Option<Server>,
}

impl Nats {
    /// Uses the server at this URL, or starts a private one if there is no URL. Blocks until it is started.
    ///
    /// # Errors
    ///
    /// If nats-server is not installed and cannot be fetched; the error says what to install.
    pub fn at_or_private(url: Option<String>) -> anyhow::Result<Self> {
        Self::at_or(url, Server::builder())
    }

    /// Like [`at_or_private`](Self::at_or_private), with JetStream in the private server.
    ///
    /// # Errors
    ///
    /// As [`at_or_private`](Self::at_or_private).
    pub fn at_or_private_with_jetstream(url: Option<String>) -> anyhow::Result<Self> {
        Self::at_or(url, Server::builder().jetstream(true))
    }

    fn at_or(url: Option<String>, private: ServerBuilder) -> anyhow::Result<Self> {
        if let Some(url) = url {
            return Ok(Self { url, private: None });
        }
        let server = private.start().context("cannot start a private nats-server")?;
        tracing::info!(url = server.url(), version = %server.binary().release(), "private nats-server");
        Ok(Self { url: server.url().to_owned(), private: Some(server) })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process id of a private server. Returns `None` for another server.
    pub fn pid(&self) -> Option<u32> {
        self.private.as_ref().and_then(Server::pid)
    }

    /// Stops the server if it is a private one.
    ///
    /// # Errors
    ///
    /// If it does not stop.
    pub fn stop(self) -> anyhow::Result<()> {
        match self.private {
            Some(mut server) => server.stop().context("cannot stop the private nats-server"),
            None => Ok(()),
        }
    }
}

/// Connects to the server at this URL, under a name that its monitoring shows.
///
/// # Errors
///
/// If the URL is invalid, the server cannot be reached, or it refuses the connection.
pub async fn connect(url: &str, name: &str) -> anyhow::Result<Client> {
    connect_with(ConnectOptions::new(), url, name).await
}

/// Like [`connect`], but retries in the background if the server cannot be reached.
///
/// # Errors
///
/// If the URL is invalid.
pub async fn connect_eventually(url: &str, name: &str) -> anyhow::Result<Client> {
    connect_with(ConnectOptions::new().retry_on_initial_connect(), url, name).await
}

/// Waits until the client is connected, and returns whether the server has JetStream. Cancel safe.
pub async fn has_jetstream(client: &Client) -> bool {
    loop {
        // There is no event for the first connection, so this polls.
        if let Some(server) = client.try_server_info() {
            return server.jetstream;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn connect_with(options: ConnectOptions, url: &str, name: &str) -> anyhow::Result<Client> {
    let address: ServerAddr = url.parse().context("the NATS server's URL is invalid")?;
    // Without user and password, which may be in the URL.
    let place = format!("{}:{}", address.host(), address.port());
    tracing::info!(server = place, name, "connecting to NATS");
    options.name(name).connect(address).await.with_context(|| format!("cannot connect to NATS at {place}"))
}
