//! A connection that can be cut.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to a nats-server until it is told to cut them.
pub(crate) struct Proxy {
    url: String,
    /// The number of the cut that was last, and whether connections are let through at the moment.
    state: Arc<watch::Sender<(u64, bool)>>,
    /// How many connections were let through.
    connected: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("nats://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(watch::Sender::new((0, true)));
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
        self.state.send_modify(|state| *state = (state.0 + 1, false));
    }

    pub(crate) fn mend(&self) {
        self.state.send_modify(|state| state.1 = true);
    }
}

async fn pass(
    mut client: TcpStream,
    port: u16,
    mut states: watch::Receiver<(u64, bool)>,
    connected: Arc<AtomicUsize>,
) {
    let (cuts, open) = *states.borrow_and_update();
    if !open {
        return;
    }
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    connected.fetch_add(1, Ordering::SeqCst);
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = states.wait_for(|state| state.0 != cuts) => {}
    }
}
