//! Every method with random requests: each gets a response or a status of the contract, and the service works on.

mod wire;

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::uri::PathAndQuery;
use narun_grpc::pb::NatsHealthCheckRequest;
use narun_grpc::{FILE_DESCRIPTOR_SET, NatsServer, SERVICE};
use prost::Message;
use prost_types::FileDescriptorSet;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tonic::{Code, Request, Status};

use self::wire::Random;
pub(crate) use self::wire::Raw;
use crate::consumers::{consumer, durable};
use crate::harness::{Service, new_user, soon};
use crate::objects;
use crate::streams::{create, named, store};

/// The number of requests of each method.
const REQUESTS: usize = 40;

/// The number of calls at a time.
const AT_ONCE: usize = 32;

/// The deadline of a call.
const PATIENCE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn no_request_breaks_anything() {
    // Another seed gives other requests.
    let seed = std::env::var("NARUN_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let (mut service, user) = (Service::start().await, new_user());
    // So that some requests match existing names.
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    service.client.create_consumer(consumer(&user, durable("c"))).await.unwrap();
    store(&service.client, &user, "s.a", "x").await;
    service.client.object_put(objects::put(&user, "o", "")).await.unwrap();

    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let mut random = Random::new(StdRng::seed_from_u64(seed), &files, &user);
    let methods: Vec<_> =
        files.iter().flat_map(|file| &file.service).flat_map(|service| &service.method).collect();
    assert_eq!(methods.len(), narun_grpc::Method::ALL.len());
    let mut calls = Vec::new();
    for _ in 0..REQUESTS {
        for method in &methods {
            calls.push((method.name().to_owned(), random.message(method.input_type())));
        }
    }
    // Without a connection: it would be closed on a client that cancels so often, and would turn a panic into an ordinary
    // failure.
    let server = service.service.clone().into_server();
    let responses = futures::stream::iter(calls).map(|(method, request)| {
        let client = tonic::client::Grpc::new(server.clone());
        async move {
            let shown = format!("seed {seed}: {method} {request:?}");
            let result = soon(&shown, call(client, &method, request)).await;
            (shown, result)
        }
    });
    let mut responses = responses.buffer_unordered(AT_ONCE);
    let mut succeeded = 0;
    while let Some((shown, result)) = responses.next().await {
        match result.map_err(|status| (status.code(), status)) {
            Ok(()) => succeeded += 1,
            Err((
                Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::ResourceExhausted
                | Code::DeadlineExceeded
                | Code::Cancelled
                // Another request has changed it meanwhile.
                | Code::Aborted,
                _,
            )) => {}
            Err((_, status)) => panic!("{status:?} of {shown}"),
        }
    }
    assert!(succeeded > methods.len(), "{succeeded}");
    // The connection was never lost.
    let health = service.client.health_check(NatsHealthCheckRequest { deep_check: true }).await.unwrap();
    assert!(health.into_inner().healthy);
    let statistics = service.service.connection().client().statistics();
    assert_eq!(statistics.connects.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// Calls a method of any kind with one request, and reads the responses until the deadline.
async fn call(
    mut client: tonic::client::Grpc<NatsServer>,
    method: &str,
    request: Bytes,
) -> Result<(), Status> {
    client.ready().await.expect("a service that is always ready");
    let path = PathAndQuery::try_from(format!("/{SERVICE}/{method}")).expect("a path");
    let mut request = Request::new(tokio_stream::iter([request]));
    request.set_timeout(PATIENCE);
    let responses = client.streaming(request, path, Raw).await?.into_inner();
    let read = responses.try_for_each(async |_| Ok(()));
    // A subscription stays open.
    tokio::time::timeout(PATIENCE, read).await.unwrap_or(Ok(()))
}
