//! The parts of a load program that run in processes of their own.
//!
//! `PROGRAM role JOB`, with a `Job` in JSON, prints `ready ADDRESS` when it serves, and ends when
//! its standard input ends. A client reads an `Order` per line, and prints a `Round` for each.

mod app;
mod backlog;
mod bulk;
mod credit;
mod direct;
mod durable;
mod flood;
mod grpc;
mod grpc_client;
mod http_client;
mod http_server;
mod job;
mod layered;
mod narun;
mod nats_grpc;
mod operation;
mod parent;
mod proxy;
mod raw;
mod show;

use std::io;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

pub(crate) use self::app::{DeliveryKind, NatsApp, Work};
pub(crate) use self::bulk::Transfer;
pub(crate) use self::durable::DurableSetup;
pub(crate) use self::grpc::Method;
pub(crate) use self::grpc_client::channel;
pub(crate) use self::http_server::Protocol;
pub(crate) use self::job::{Job, Role};
pub(crate) use self::operation::{BATCH, Operation, SUBSCRIBERS};
use self::parent::client;
pub(crate) use self::show::ShowSetup;
use crate::Error;
use crate::handler::echo;

/// Runs a role if this process was started for one, and returns its exit code. Returns `None` otherwise.
///
/// A program must call this first.
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
    let orders = parent::orders();
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
            Role::Show(setup) => show::serve(setup).await,
            Role::LayeredGateway { show, strip } => layered::gateway(show, strip).await,
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
            Role::NatsGrpcClient { to, nats, operation, connections, body } => {
                client(grpc_client::Connector::new(to, &nats, operation, body).await?, connections, orders)
                    .await
            }
            Role::DirectClient { nats, operation, connections, body } => {
                client(direct::Connector::new(&nats, operation, body).await?, connections, orders).await
            }
            Role::EchoClient { to, connections, body } => {
                client(grpc_client::EchoConnector::new(to, body).await?, connections, orders).await
            }
        }
    })
}

fn runtime(workers: Option<usize>) -> io::Result<Runtime> {
    match workers {
        None => Builder::new_current_thread().enable_all().build(),
        Some(workers) => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}
