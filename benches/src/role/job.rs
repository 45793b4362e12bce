//! What a process is started to do.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::app::{NatsApp, Work};
use super::bulk::Transfer;
use super::durable::DurableSetup;
use super::grpc::Method;
use super::http_server::Protocol;
use super::operation::Operation;

/// What a process is to do, and on how many worker threads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// None: a current-thread runtime.
    pub(crate) workers: Option<usize>,
    pub(crate) role: Role,
}

/// What a process can be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// The handler behind a hyper server.
    Backend,
    /// A hyper server and a pooled client in front of another server.
    Proxy { to: SocketAddr },
    /// HTTP requests over a connection each; those to be answered later, if an app is named.
    HttpClient { to: SocketAddr, connections: usize, body: usize, later: Option<NatsApp> },
    /// A hyper server and the gateway.
    Gateway { at: NatsApp, routes: usize },
    /// A consumer with the handler.
    Consumer { at: NatsApp, work: Work },
    /// A hyper server and the gateway, with durable routes.
    DurableGateway(DurableSetup),
    /// A consumer that writes down what it runs.
    DurableConsumer(DurableSetup),
    /// A NATS subscription that answers with what it got.
    Responder { at: NatsApp },
    /// A NATS subscription for an app's requests, that never answers.
    Silent { at: NatsApp },
    /// NATS requests over one connection.
    RawClient { at: NatsApp, connections: usize, body: usize },
    /// A hyper server and the gateway, for bodies of any length.
    FloodGateway { at: NatsApp, window: u64, protocol: Protocol },
    /// A consumer whose handler sends and takes such bodies.
    FloodConsumer { at: NatsApp, window: u64 },
    /// HTTP requests with such bodies, over a connection each.
    BulkClient { to: SocketAddr, connections: usize, transfer: Transfer },
    /// Streams over bare NATS, with credit.
    CreditSender { at: NatsApp, window: u64 },
    /// Takes such streams.
    CreditReceiver { at: NatsApp, window: u64, connections: usize },
    /// A tonic service behind a hyper server.
    GrpcBackend,
    /// A consumer with that service.
    GrpcConsumer { at: NatsApp },
    /// Calls of that service, over a connection each.
    GrpcClient { to: SocketAddr, connections: usize, method: Method, body: usize },
    /// NATS over gRPC.
    NatsGrpc { nats: String },
    /// A gRPC method that answers with what it got.
    Echo,
    /// Work through NATS over gRPC.
    NatsGrpcClient { to: SocketAddr, nats: String, operation: Operation, connections: usize, body: usize },
    /// The same straight through async-nats.
    DirectClient { nats: String, operation: Operation, connections: usize, body: usize },
    /// Calls of the echo.
    EchoClient { to: SocketAddr, connections: usize, body: usize },
}
