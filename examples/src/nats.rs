//! Connections to NATS, and a server for those who have none.

use std::time::Duration;

use anyhow::Context;
use async_nats::{Client, ConnectOptions, ServerAddr};
use narun_support::{Server, ServerBuilder};

/// Between two looks at whether there is a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// A NATS server: the user's, or a private one that ends with this value.
#[derive(Debug)]
pub struct Nats {
    url: String,
    private: Option<Server>,
}

impl Nats {
    /// Takes the server at this URL, or else starts a private one. Blocks for that.
    ///
    /// # Errors
    ///
    /// If there is no nats-server to start, and none could be fetched; the error says what to install.
    pub fn at_or_private(url: Option<String>) -> anyhow::Result<Self> {
        Self::at_or(url, Server::builder())
    }

    /// The same, a private one with JetStream.
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

    /// The process id of a private one.
    pub fn pid(&self) -> Option<u32> {
        self.private.as_ref().and_then(Server::pid)
    }

    /// Stops it, if it is a private one.
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
/// If there is no server, or it does not let us in.
pub async fn connect(url: &str, name: &str) -> anyhow::Result<Client> {
    connect_with(ConnectOptions::new(), url, name).await
}

/// As [`connect`], but goes on trying in the background if there is no server yet.
///
/// # Errors
///
/// If the URL is none.
pub async fn connect_eventually(url: &str, name: &str) -> anyhow::Result<Client> {
    connect_with(ConnectOptions::new().retry_on_initial_connect(), url, name).await
}

/// Whether the server has JetStream; waits until there is a server. Cancel safe.
pub async fn has_jetstream(client: &Client) -> bool {
    loop {
        // Nothing is known before the first connection, and nobody is told of it.
        if let Some(server) = client.try_server_info() {
            return server.jetstream;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn connect_with(options: ConnectOptions, url: &str, name: &str) -> anyhow::Result<Client> {
    let address: ServerAddr = url.parse().context("the NATS server's URL is none")?;
    // There may be a password in the URL.
    let place = format!("{}:{}", address.host(), address.port());
    tracing::info!(server = place, name, "connecting to NATS");
    options.name(name).connect(address).await.with_context(|| format!("cannot connect to NATS at {place}"))
}
