//! Calls in flight when the NATS server dies.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use narun_grpc::pb::{PullMessagesRequest, RequestRequest, StorageType, StreamConfig};
use narun_support::Server;
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Code;

use crate::consumers::{consumer, durable};
use crate::every::{call, prepare, requests};
use crate::harness::{Service, channel, eventually, settle, soon};
use crate::restarts::{serve, signal};
use crate::streams::{create, named, store};

/// What "soon" is after the server died, with much room for a slow machine.
const SOON: Duration = Duration::from_secs(10);

/// The number of messages that the service has sent.
fn sent(service: &Service) -> u64 {
    service.service.connection().client().statistics().out_messages.load(Ordering::Relaxed)
}

#[tokio::test]
async fn every_call_ends_soon_after_the_server_died() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    let channel = channel(&service.url).await;
    prepare(&channel, "u").await;
    let other = async_nats::connect(server.url()).await.expect("a connection");
    signal(&server, rustix::process::Signal::STOP);
    let responds = async || timeout(Duration::from_secs(1), settle(&other)).await.is_ok();
    eventually("a server that does not respond", async || !responds().await).await;
    let (before, mut calls) = (sent(&service), JoinSet::new());
    let requests = requests("u");
    for (method, request) in requests.clone() {
        let channel = channel.clone();
        calls.spawn(async move { (method, soon(method, call(&channel, method, request)).await) });
    }
    eventually("requests", async || sent(&service) >= before + requests.len() as u64).await;
    server.kill().unwrap();
    server.restart().unwrap();
    let mut repeated = 0;
    let ended = timeout(SOON, calls.join_all()).await.expect("all calls end soon");
    for (method, result) in ended {
        let is_read = ["Get", "List", "KVGet", "KVKeys", "KVHistory", "ObjectGet", "ObjectList", "Pull"]
            .into_iter()
            .any(|read| method.starts_with(read));
        match result {
            Ok(_) if is_read => repeated += 1,
            // Not healthy, or no reply in time.
            Ok(_) => assert!(["HealthCheck", "Request"].contains(&method), "{method}"),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{method}: {status:?}");
                assert!(!is_read, "{method}: {status:?}");
            }
        }
    }
    assert_eq!(repeated, 12);
}

#[tokio::test]
async fn a_waiting_pull_goes_on_after_the_server_died() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    let mut client = service.client.clone();
    // On disk, to outlive the server.
    let config = StreamConfig { storage: StorageType::StorageFile.into(), ..named("s") };
    client.create_stream(create("u", config)).await.unwrap();
    client.create_consumer(consumer("u", durable("c"))).await.unwrap();
    let pull = PullMessagesRequest {
        user_id: "u".into(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        max_wait: Some(prost_types::Duration { seconds: 50, nanos: 0 }),
        ..Default::default()
    };
    let pulling = tokio::spawn({
        let mut client = client.clone();
        async move { client.pull_messages(pull).await }
    });
    waits(&server).await;
    server.kill().unwrap();
    server.restart().unwrap();
    waits(&server).await;
    store(&client, "u", "s.a", "x").await;
    let pulled = soon("a message", pulling).await.unwrap().unwrap().into_inner();
    assert_eq!(pulled.messages.len(), 1);
    assert_eq!(pulled.messages[0].data, "x");
}

/// Waits until a pull waits at the consumer.
async fn waits(server: &Server) {
    let nats = async_nats::connect(server.url()).await.expect("a connection");
    let jetstream = async_nats::jetstream::new(nats);
    eventually("a waiting pull", async || {
        let Ok(stream) = jetstream.get_stream("user-u-s").await else { return false };
        stream.consumer_info("c").await.is_ok_and(|info| info.num_waiting == 1)
    })
    .await;
}

#[tokio::test]
async fn a_request_fails_if_the_server_dies_before_the_reply() {
    let mut server = Server::start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    let responder = async_nats::connect(server.url()).await.expect("a connection");
    let mut silent = responder.subscribe("user.u.silent").await.expect("a subscription");
    settle(&responder).await;
    let request = RequestRequest {
        user_id: "u".into(),
        subject: "silent".into(),
        timeout: Some(prost_types::Duration { seconds: 50, nanos: 0 }),
        ..Default::default()
    };
    let channel = channel(&service.url).await;
    let request = request.encode_to_vec().into();
    let requesting = tokio::spawn(async move { call(&channel, "Request", request).await });
    soon("the request", silent.next()).await.expect("a message");
    server.kill().unwrap();
    server.restart().unwrap();
    let status = soon("a failure", requesting).await.unwrap().expect_err("no reply");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}
