//! Connections to NATS, and a private server if there is none.

use std::error::Error;
use std::io;

use anyhow::{Context, bail};
use async_nats::{ClientError, ConnectError, ConnectErrorKind, Event, ServerAddr};
use narun_gateway::{AccessError, NatsAccess, NatsClient, NatsEvents};
use narun_support::{Server, ServerBuilder};
use tokio::sync::watch;

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

/// The first connection of a client that [`connect_eventually`] returned.
#[derive(Debug)]
pub struct FirstConnection {
    made: watch::Receiver<Option<Result<(), String>>>,
}

impl FirstConnection {
    /// Waits until the client is connected. Cancel safe.
    ///
    /// # Errors
    ///
    /// If the server refuses the credentials: another attempt would not succeed either.
    pub async fn made(&mut self) -> anyhow::Result<()> {
        // The sender is the client's.
        let made = self.made.wait_for(Option::is_some).await.context("the NATS client has ended")?;
        match &*made {
            Some(Err(refusal)) => bail!("cannot connect to NATS: {refusal}"),
            _ => Ok(()),
        }
    }
}

/// Connects to the servers at this URL, or at several separated by commas, under a name that their monitoring shows.
/// Credentials come from the URL or the environment, see [`NatsAccess::from_env`].
///
/// # Errors
///
/// If the URL or a credential is invalid, the server cannot be reached, or it refuses the connection.
pub async fn connect(url: &str, name: &str) -> anyhow::Result<NatsClient> {
    let mut access = NatsAccess::from_env()?;
    let servers = access.take_from(url.split(',').map(str::trim))?;
    once(&access, &servers, name).await.with_context(|| cannot_connect(&servers))
}

/// Like [`connect`] with these credentials, but retries in the background if the server cannot be reached.
///
/// # Errors
///
/// If the URL or a credential is invalid, or the server refuses the connection.
pub async fn connect_eventually(
    url: &str,
    mut access: NatsAccess,
    name: &str,
) -> anyhow::Result<(NatsClient, FirstConnection)> {
    let servers = access.take_from(url.split(',').map(str::trim))?;
    let (state, made) = watch::channel(None);
    match once(&access, &servers, name).await {
        Ok(client) => {
            state.send_replace(Some(Ok(())));
            return Ok((client, FirstConnection { made }));
        }
        Err(AccessError::Connect(error)) if !is_refusal(&error) => {
            tracing::warn!(error = chain(&error), "NATS cannot be reached: trying again");
        }
        Err(error) => return Err(error).with_context(|| cannot_connect(&servers)),
    }
    // async-nats only logs why it cannot connect, and tries again, whatever the reason.
    let refusals =
        [ConnectErrorKind::AuthorizationViolation, ConnectErrorKind::Authentication, ConnectErrorKind::Tls];
    let options = access.connect_options().await?.name(name).retry_on_initial_connect();
    let events = NatsEvents::new();
    let handled = events.clone();
    let options = options.event_callback(move |event| {
        handled.handle(&event);
        let result = match event {
            Event::Connected => Some(Ok(())),
            Event::ClientError(ClientError::Other(text)) => {
                refusals.iter().any(|kind| kind.to_string() == text).then_some(Err(text))
            }
            _ => None,
        };
        state.send_if_modified(|state| {
            let is_first = state.is_none() && result.is_some();
            *state = state.take().or(result);
            is_first
        });
        async {}
    });
    let client = options.connect(servers).await?;
    Ok((NatsClient::new(client, events), FirstConnection { made }))
}

async fn once(access: &NatsAccess, servers: &[ServerAddr], name: &str) -> Result<NatsClient, AccessError> {
    let options = access.connect_options().await?.name(name);
    tracing::info!(servers = places(servers), name, "connecting to NATS");
    NatsClient::connect(options, servers).await.map_err(AccessError::Connect)
}

/// Whether another attempt would fail as well: because of credentials or certificates, or a URL.
fn is_refusal(error: &ConnectError) -> bool {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation
        | ConnectErrorKind::Authentication
        | ConnectErrorKind::ServerParse
        | ConnectErrorKind::Tls => true,
        // The TLS handshake: rustls refuses the server's certificate, or has an alert about the client's.
        _ => causes(error).any(|cause| cause.is::<async_nats::rustls::Error>()),
    }
}

/// An error and its sources, those within an `io::Error` included.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

fn chain(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The servers without user and password.
fn places(servers: &[ServerAddr]) -> String {
    let place = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
    servers.iter().map(place).collect::<Vec<_>>().join(", ")
}

fn cannot_connect(servers: &[ServerAddr]) -> String {
    format!("cannot connect to NATS at {}", places(servers))
}
