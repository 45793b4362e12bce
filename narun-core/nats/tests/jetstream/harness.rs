//! The server of the tests, and a namespace for each test.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::Client;
use narun_core::{ExchangeId, Namespace};
use narun_nats::jetstream::TaskStreams;
use narun_nats::jetstream::{Storage, StreamSettings};
use narun_support::Server;

/// The server that most tests share.
static SERVER: LazyLock<Server> =
    LazyLock::new(|| Server::builder().jetstream(true).start().expect("a nats-server"));

pub(crate) const ID: ExchangeId = ExchangeId::from_bytes([7; 16]);

pub(crate) async fn connect() -> Client {
    connect_to(&SERVER).await
}

pub(crate) async fn connect_to(server: &Server) -> Client {
    async_nats::connect(server.url()).await.expect("a connection")
}

/// A namespace that no other test uses.
pub(crate) fn new_namespace() -> Namespace {
    static NAMESPACES: AtomicUsize = AtomicUsize::new(0);
    Namespace::new(format!("NS-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed))).expect("a name")
}

pub(crate) const fn in_memory() -> StreamSettings {
    StreamSettings::new().storage(Storage::Memory)
}

/// A new namespace with these settings.
pub(crate) async fn tasks(settings: StreamSettings) -> TaskStreams {
    TaskStreams::new(connect().await, new_namespace(), settings)
}

/// The number of messages in a stream.
pub(crate) async fn messages(tasks: &TaskStreams, stream: &str) -> u64 {
    tasks.context().get_stream(stream).await.expect("a stream").cached_info().state.messages
}
