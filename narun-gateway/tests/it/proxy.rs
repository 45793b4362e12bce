//! A connection that can be cut.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy)]
struct State {
    /// The number of the cut that was last.
    cuts: u64,
    /// Whether connections are let through at the moment.
    open: bool,
    /// Whether what the server says is kept back.
    held: bool,
}

/// Passes connections on to a nats-server until it is told to cut them.
pub(crate) struct Proxy {
    url: String,
    state: Arc<watch::Sender<State>>,
    /// How many connections were let through.
    connected: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("nats://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(watch::Sender::new(State { cuts: 0, open: true, held: false }));
        let states = state.subscribe();
        let connected = Arc::new(AtomicUsize::new(0));
        let count = connected.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, port, states.clone(), count.clone()));
            }
        });
        Self { url, state, connected }
    }

    /// A client that is connected through it, and connects again at once.
    pub(crate) async fn connect(&self) -> Client {
        ConnectOptions::new()
            .reconnect_delay_callback(|_| Duration::from_millis(10))
            .connect(&self.url)
            .await
            .expect("a connection")
    }

    /// How many connections were let through so far.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Ordering::SeqCst)
    }

    /// Cuts all connections, and lets no new one through until [`Proxy::mend`].
    pub(crate) fn cut(&self) {
        self.state
            .send_modify(|state| *state = State { cuts: state.cuts + 1, open: false, held: state.held });
    }

    pub(crate) fn mend(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Keeps back what the server says; what it is told gets there.
    pub(crate) fn hold(&self) {
        self.state.send_modify(|state| state.held = true);
    }

    /// Passes it on.
    pub(crate) fn release(&self) {
        self.state.send_modify(|state| state.held = false);
    }
}

async fn pass(
    mut client: TcpStream,
    port: u16,
    mut states: watch::Receiver<State>,
    connected: Arc<AtomicUsize>,
) {
    let State { cuts, open, .. } = *states.borrow_and_update();
    if !open {
        return;
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    connected.fetch_add(1, Ordering::SeqCst);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = answer(&mut from_server, &mut to_client, states.clone(), cuts) => {}
        _ = states.wait_for(|state| state.cuts != cuts) => {}
    }
}

/// Passes on what the server says, except while it is held.
async fn answer(
    server: &mut ReadHalf<'_>,
    client: &mut WriteHalf<'_>,
    mut states: watch::Receiver<State>,
    cuts: u64,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = server.read(&mut bytes).await?;
        let go_on = states.wait_for(|state| !state.held || state.cuts != cuts).await;
        // What is held when it is cut is lost.
        if read == 0 || !go_on.is_ok_and(|state| state.cuts == cuts) {
            return Ok(());
        }
        client.write_all(&bytes[..read]).await?;
    }
}
