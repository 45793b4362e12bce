//! Every method with requests that nobody means: they are answered, with statuses that the contract has, and all goes on.

mod wire;

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::uri::PathAndQuery;
use narun_grpc::pb::NatsHealthCheckRequest;
use narun_grpc::pb::nats_service_server::NatsServiceServer;
use narun_grpc::{FILE_DESCRIPTOR_SET, NatsService, SERVICE};
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

/// Requests of each method.
const REQUESTS: usize = 40;

/// Calls at a time.
const AT_ONCE: usize = 32;

/// How long a call may wait for what does not come.
const PATIENCE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn no_request_breaks_anything() {
    // Another number is another test.
    let seed = std::env::var("NARUN_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let (mut service, user) = (Service::start().await, new_user());
    // So that some requests are of what there is.
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
    // Without a connection between, which would be closed on a client that breaks off so often, and where a panic would
    // be a failure like others.
    let server = service.service.clone().into_server();
    let answers = futures::stream::iter(calls).map(|(method, request)| {
        let client = tonic::client::Grpc::new(server.clone());
        async move {
            let shown = format!("seed {seed}: {method} {request:?}");
            let result = soon(&shown, call(client, &method, request)).await;
            (shown, result)
        }
    });
    let mut answers = answers.buffer_unordered(AT_ONCE);
    let mut succeeded = 0;
    while let Some((shown, result)) = answers.next().await {
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
                // What another request has changed meanwhile.
                | Code::Aborted,
                _,
            )) => {}
            Err((_, status)) => panic!("{status:?} of {shown}"),
        }
    }
    assert!(succeeded > methods.len(), "{succeeded}");
    // The connection had not to be made anew.
    let health = service.client.health_check(NatsHealthCheckRequest { deep_check: true }).await.unwrap();
    assert!(health.into_inner().healthy);
    let statistics = service.service.connection().client().statistics();
    assert_eq!(statistics.connects.load(std::sync::atomic::Ordering::Relaxed), 1);
}

/// Calls a method of any kind with one request, and reads what comes within its time.
async fn call(
    mut client: tonic::client::Grpc<NatsServiceServer<NatsService>>,
    method: &str,
    request: Bytes,
) -> Result<(), Status> {
    client.ready().await.expect("a service that is always ready");
    let path = PathAndQuery::try_from(format!("/{SERVICE}/{method}")).expect("a path");
    let mut request = Request::new(tokio_stream::iter([request]));
    request.set_timeout(PATIENCE);
    let answers = client.streaming(request, path, Raw).await?.into_inner();
    let read = answers.try_for_each(async |_| Ok(()));
    // The stream of a subscription goes on.
    tokio::time::timeout(PATIENCE, read).await.unwrap_or(Ok(()))
}
