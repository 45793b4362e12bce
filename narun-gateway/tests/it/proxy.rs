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
    /// How many times connections were cut.
    cuts: u64,
    /// Whether connections are let through at the moment.
    open: bool,
    /// Whether what the server sends is held back.
    held: bool,
}

/// Passes connections on to a nats-server, and cuts them.
pub(crate) struct Proxy {
    url: String,
    state: Arc<watch::Sender<State>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// The connections that were let through.
    connected: AtomicUsize,
    /// The messages without a subscriber, as the server reported them.
    no_responders: AtomicUsize,
}

/// What is in the message by which a server says that a request has no subscriber.
const NO_RESPONDERS: &[u8] = b"NATS/1.0 503";

impl Proxy {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("nats://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(watch::Sender::new(State { cuts: 0, open: true, held: false }));
        let states = state.subscribe();
        let counts = Arc::new(Counts::default());
        let counting = counts.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, port, states.clone(), counting.clone()));
            }
        });
        Self { url, state, counts }
    }

    /// A client that is connected through this proxy, and reconnects at once.
    pub(crate) async fn connect(&self) -> Client {
        ConnectOptions::new()
            .reconnect_delay_callback(|_| Duration::from_millis(10))
            .connect(&self.url)
            .await
            .expect("a connection")
    }

    /// How many connections were let through so far.
    pub(crate) fn connected(&self) -> usize {
        self.counts.connected.load(Ordering::SeqCst)
    }

    /// How many messages of its clients had no subscriber so far.
    pub(crate) fn no_responders(&self) -> usize {
        self.counts.no_responders.load(Ordering::SeqCst)
    }

    /// Cuts all connections, and lets no new one through until [`Proxy::mend`].
    pub(crate) fn cut(&self) {
        self.state
            .send_modify(|state| *state = State { cuts: state.cuts + 1, open: false, held: state.held });
    }

    pub(crate) fn mend(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Holds back what the server sends, but not what is sent to it.
    pub(crate) fn hold(&self) {
        self.state.send_modify(|state| state.held = true);
    }

    /// Passes on what was held back.
    pub(crate) fn release(&self) {
        self.state.send_modify(|state| state.held = false);
    }
}

async fn pass(mut client: TcpStream, port: u16, mut states: watch::Receiver<State>, counts: Arc<Counts>) {
    let State { cuts, open, .. } = *states.borrow_and_update();
    if !open {
        return;
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    counts.connected.fetch_add(1, Ordering::SeqCst);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = pass_back(&mut from_server, &mut to_client, states.clone(), cuts, &counts) => {}
        _ = states.wait_for(|state| state.cuts != cuts) => {}
    }
}

/// Passes on what the server sends, except while it is held.
async fn pass_back(
    server: &mut ReadHalf<'_>,
    client: &mut WriteHalf<'_>,
    mut states: watch::Receiver<State>,
    cuts: u64,
    counts: &Counts,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    // How much of such a message the last bytes were.
    let mut matched = 0;
    loop {
        let read = server.read(&mut bytes).await?;
        let go_on = states.wait_for(|state| !state.held || state.cuts != cuts).await;
        // What is held when it is cut is lost.
        if read == 0 || !go_on.is_ok_and(|state| state.cuts == cuts) {
            return Ok(());
        }
        client.write_all(&bytes[..read]).await?;
        for byte in &bytes[..read] {
            matched = match *byte == NO_RESPONDERS[matched] {
                true => matched + 1,
                false => usize::from(*byte == NO_RESPONDERS[0]),
            };
            if matched == NO_RESPONDERS.len() {
                counts.no_responders.fetch_add(1, Ordering::SeqCst);
                matched = 0;
            }
        }
    }
}
