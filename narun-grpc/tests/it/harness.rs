//! The NATS server, services on it, and clients of them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::Client;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::nats_service_client::NatsServiceClient;
use narun_grpc::{NatsServer, NatsService, NatsServiceBuilder};
use narun_support::Server;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint};

pub(crate) use narun_support::testing::{eventually, settle, soon};

/// The server of all tests that do not stop it.
pub(crate) static SERVER: LazyLock<Server> =
    LazyLock::new(|| Server::builder().jetstream(true).start().expect("a nats-server"));

pub(crate) type GrpcClient = NatsServiceClient<Channel>;

pub(crate) async fn connect() -> Client {
    async_nats::connect(SERVER.url()).await.expect("a connection")
}

/// A user id that no other test uses.
pub(crate) fn new_user() -> String {
    static USERS: AtomicUsize = AtomicUsize::new(0);
    format!("user{}", USERS.fetch_add(1, Ordering::Relaxed))
}

/// A service and a client. It is served until this is dropped.
pub(crate) struct Service {
    pub(crate) service: NatsService,
    pub(crate) url: String,
    pub(crate) client: GrpcClient,
    serving: JoinHandle<()>,
}

impl Service {
    /// A service that trusts its clients.
    pub(crate) async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    /// A service that trusts its clients, with settings.
    pub(crate) async fn with(
        set: impl FnOnce(NatsServiceBuilder<TrustRequest>) -> NatsServiceBuilder<TrustRequest>,
    ) -> Self {
        let builder = NatsService::builder(connect().await).authenticator(TrustRequest::new());
        Self::serve(set(builder).build()).await
    }

    pub(crate) async fn serve(service: NatsService) -> Self {
        let server = service.clone().into_server();
        let (url, serving) = listen(server).await;
        let channel = channel(&url).await;
        Self { service, client: NatsServiceClient::new(channel), url, serving }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn listen(server: NatsServer) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move {
        let router = tonic::transport::Server::builder().add_service(server);
        router.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("a server");
    });
    (url, serving)
}

/// A new connection to a service.
pub(crate) async fn channel(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned()).expect("an address").connect().await.expect("a connection")
}
