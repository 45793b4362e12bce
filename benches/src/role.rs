//! The parts of a load program that run in processes of their own.
//!
//! `PROGRAM role JOB`, with a `Job` in JSON, prints `ready ADDRESS` once it serves, and ends when
//! its standard input does. A client takes an `Order` per line and answers each with a
//! `Round`.

mod backlog;
mod bulk;
mod credit;
mod deed;
mod direct;
mod durable;
mod flood;
mod grpc;
mod grpc_client;
mod http_client;
mod http_server;
mod narun;
mod nats_grpc;
mod proxy;
mod raw;

use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{self, UnboundedReceiver};

pub(crate) use self::bulk::Transfer;
pub(crate) use self::deed::{BATCH, Deed, SUBSCRIBERS};
pub(crate) use self::durable::Durable;
pub(crate) use self::grpc::Method;
pub(crate) use self::grpc_client::channel;
pub(crate) use self::http_server::Protocol;
use crate::Error;
use crate::handler::echo;
use crate::round::{self, Connect, Order};

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
    DurableGateway(Durable),
    /// A consumer that writes down what it runs.
    DurableConsumer(Durable),
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
    NatsGrpcClient { to: SocketAddr, nats: String, deed: Deed, connections: usize, body: usize },
    /// The same straight through async-nats.
    DirectClient { nats: String, deed: Deed, connections: usize, body: usize },
    /// Calls of the echo.
    EchoClient { to: SocketAddr, connections: usize, body: usize },
}

/// An app behind a NATS server; it differs for those that are not to share their requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NatsApp {
    pub(crate) nats: String,
    pub(crate) app: String,
    pub(crate) delivery: Delivery,
}

/// How an app's requests are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Delivery {
    #[default]
    Direct,
    /// Out of a stream on disk.
    File,
    /// Out of a stream in memory.
    Memory,
}

/// How a consumer works; by default it does nothing but what it must, as much at once as it is given.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    /// CPU time that the handler uses up per request.
    pub(crate) burn: Duration,
    pub(crate) concurrency: usize,
    pub(crate) queue: usize,
}

/// The orders that the parent gives.
type Orders = UnboundedReceiver<Order>;

impl Default for Work {
    fn default() -> Self {
        Self { burn: Duration::ZERO, concurrency: 1024, queue: 32 }
    }
}

/// Takes a role if this process was started to do so; a program calls it first of all.
pub fn taken() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != "role" {
        return None;
    }
    let result = arguments.next().ok_or_else(|| "a role needs a job".into()).and_then(|job| take(&job));
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::failed(&error),
    })
}

fn take(job: &str) -> Result<(), Error> {
    let Job { workers, role } = serde_json::from_str(job)?;
    let orders = orders();
    runtime(workers)?.block_on(async {
        match role {
            Role::Backend => http_server::serve(tower::service_fn(echo)).await,
            Role::Proxy { to } => http_server::serve(proxy::Proxy::new(to)).await,
            Role::HttpClient { to, connections, body, later } => {
                client(http_client::Connector::new(to, body, later).await?, connections, orders).await
            }
            Role::Gateway { at, routes } => narun::gateway(at, routes).await,
            Role::Consumer { at, work } => narun::consumer(at, work).await,
            Role::DurableGateway(setup) => durable::gateway(setup).await,
            Role::DurableConsumer(setup) => durable::consumer(setup).await,
            Role::Responder { at } => raw::respond(at).await,
            Role::Silent { at } => narun::silent(at).await,
            Role::RawClient { at, connections, body } => {
                client(raw::Connector::new(at, body).await?, connections, orders).await
            }
            Role::FloodGateway { at, window, protocol } => flood::gateway(at, window, protocol).await,
            Role::FloodConsumer { at, window } => flood::consumer(at, window).await,
            Role::BulkClient { to, connections, transfer } => {
                client(bulk::Connector::new(to, transfer), connections, orders).await
            }
            Role::CreditSender { at, window } => credit::send(at, window).await,
            Role::CreditReceiver { at, window, connections } => {
                client(credit::Connector::new(at, window).await?, connections, orders).await
            }
            Role::GrpcBackend => grpc::backend().await,
            Role::GrpcConsumer { at } => grpc::consumer(at).await,
            Role::GrpcClient { to, connections, method, body } => {
                client(grpc::Connector::new(to, method, body), connections, orders).await
            }
            Role::NatsGrpc { nats } => nats_grpc::service(&nats).await,
            Role::Echo => nats_grpc::echo().await,
            Role::NatsGrpcClient { to, nats, deed, connections, body } => {
                client(grpc_client::Connector::new(to, &nats, deed, body).await?, connections, orders).await
            }
            Role::DirectClient { nats, deed, connections, body } => {
                client(direct::Connector::new(&nats, deed, body).await?, connections, orders).await
            }
            Role::EchoClient { to, connections, body } => {
                client(grpc_client::Echo::new(to, body).await?, connections, orders).await
            }
        }
    })
}

/// Reads orders for as long as there is a parent, then ends the process.
fn orders() -> Orders {
    let (sender, orders) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(order) => drop(sender.send(order)),
                Err(error) => eprintln!("not an order: {error}"),
            }
        }
        process::exit(0);
    });
    orders
}

fn runtime(workers: Option<usize>) -> io::Result<Runtime> {
    match workers {
        None => Builder::new_current_thread().enable_all().build(),
        Some(workers) => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}

/// Tells the parent that it can go on.
fn ready(address: impl std::fmt::Display) {
    println!("ready {address}");
}

async fn client<C: Connect>(connector: C, connections: usize, mut orders: Orders) -> Result<(), Error> {
    ready("for orders");
    while let Some(order) = orders.recv().await {
        let round = round::run(&connector, connections, &order).await;
        println!("{}", serde_json::to_string(&round)?);
    }
    Ok(())
}
