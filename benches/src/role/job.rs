//! The task that a process is started with.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::app::{NatsApp, Work};
use super::bulk::Transfer;
use super::durable::DurableSetup;
use super::grpc::Method;
use super::http_server::Protocol;
use super::operation::Operation;
use super::show::ShowSetup;

/// A role, and the number of worker threads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// `None` for a current-thread runtime.
    pub(crate) workers: Option<usize>,
    pub(crate) role: Role,
}

/// The part of a load program that a process plays.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// The handler behind a hyper server.
    Backend,
    /// A hyper server and a pooled client in front of another server.
    Proxy { to: SocketAddr },
    /// Makes HTTP requests, one at a time over each connection; with `Prefer: respond-async` if `later` names the app.
    HttpClient { to: SocketAddr, connections: usize, body: usize, later: Option<NatsApp> },
    /// A hyper server and the gateway.
    Gateway { at: NatsApp, routes: usize },
    /// A consumer with the handler.
    Consumer { at: NatsApp, work: Work },
    /// A hyper server and the gateway, with durable routes.
    DurableGateway(DurableSetup),
    /// A consumer that notes its executions in a file.
    DurableConsumer(DurableSetup),
    /// A consumer that responds with what it received.
    Show(ShowSetup),
    /// An app with the gateway as a layer, behind an authentication.
    LayeredGateway { show: ShowSetup, strip: bool },
    /// A NATS subscription that replies with the payload.
    Responder { at: NatsApp },
    /// A NATS subscription for an app's requests that never replies.
    Silent { at: NatsApp },
    /// Makes NATS requests over one connection.
    RawClient { at: NatsApp, connections: usize, body: usize },
    /// A hyper server and the gateway, for bodies of any length.
    FloodGateway { at: NatsApp, window: u64, protocol: Protocol },
    /// A consumer whose handler sends and receives such bodies.
    FloodConsumer { at: NatsApp, window: u64 },
    /// Makes HTTP requests with such bodies, one at a time over each connection.
    BulkClient { to: SocketAddr, connections: usize, transfer: Transfer },
    /// Sends data over bare NATS, with credit.
    CreditSender { at: NatsApp, window: u64 },
    /// Receives data over bare NATS, and grants credit.
    CreditReceiver { at: NatsApp, window: u64, connections: usize },
    /// A tonic service behind a hyper server.
    GrpcBackend,
    /// A consumer with that service.
    GrpcConsumer { at: NatsApp },
    /// Calls this service, over connections of its own.
    GrpcClient { to: SocketAddr, connections: usize, method: Method, body: usize },
    /// NATS over gRPC.
    NatsGrpc { nats: String },
    /// A gRPC method that returns its request.
    Echo,
    /// Does an operation through NATS over gRPC.
    NatsGrpcClient { to: SocketAddr, nats: String, operation: Operation, connections: usize, body: usize },
    /// Does an operation directly through async-nats.
    DirectClient { nats: String, operation: Operation, connections: usize, body: usize },
    /// Calls the echo.
    EchoClient { to: SocketAddr, connections: usize, body: usize },
}
