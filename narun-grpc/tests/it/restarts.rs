//! NATS servers that hang, die and restart, and services that stop.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{
    ConsumeMessagesRequest, ConsumerConfig, KvWatchRequest, ObjectChunk, ObjectGetRequest, PublishRequest,
    PullMessagesRequest, SubscribeRequest,
};
use narun_grpc::{Method, NatsService, NatsServiceBuilder};
use narun_support::Server;
use tokio::task::JoinSet;
use tonic::{Code, Request};

use crate::consumers::{consumer, durable};
use crate::every::{Progress, call, insist, prepare, requests};
use crate::harness::{Service, channel, eventually, new_user, settle, soon};
use crate::objects;
use crate::streams::{create, named, publish, store};

pub(crate) async fn serve(
    server: &Server,
    set: impl FnOnce(NatsServiceBuilder<TrustRequest>) -> NatsServiceBuilder<TrustRequest>,
) -> Service {
    let nats = async_nats::connect(server.url()).await.expect("a connection");
    Service::serve(set(NatsService::builder(nats).authenticator(TrustRequest::new())).build()).await
}

/// Sends a signal to a server.
pub(crate) fn signal(server: &Server, signal: rustix::process::Signal) {
    let pid = server.pid().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    rustix::process::kill_process(pid.expect("a process"), signal).expect("a signal sent");
}

#[test]
fn every_unary_method_is_called() {
    let called: HashSet<_> = requests("u").into_iter().map(|(method, _)| method).collect();
    let streaming = [
        Method::Subscribe,
        Method::QueueSubscribe,
        Method::ConsumeMessages,
        Method::KVWatch,
        Method::ObjectUpload,
        Method::ObjectDownload,
    ];
    let unary = Method::ALL.iter().filter(|method| !streaming.contains(method)).map(|method| method.name());
    assert_eq!(called, unary.collect());
}

#[tokio::test]
async fn every_call_without_a_deadline_times_out() {
    let server = Server::builder().jetstream(true).start().expect("a nats-server");
    let (patient, hasty) = (
        serve(&server, |builder| builder).await,
        serve(&server, |builder| builder.timeout(Duration::from_millis(300))).await,
    );
    let (patient, hasty) = (channel(&patient.url).await, channel(&hasty.url).await);
    prepare(&patient, "u").await;
    for (method, request) in requests("u") {
        call(&patient, method, request).await.expect(method);
    }
    let other = async_nats::connect(server.url()).await.expect("a connection");
    signal(&server, rustix::process::Signal::STOP);
    // Its threads do not all stop at once.
    let responds = async || tokio::time::timeout(Duration::from_secs(1), settle(&other)).await.is_ok();
    eventually("a server that does not respond", async || !responds().await).await;
    let mut calls = JoinSet::new();
    for (method, request) in requests("u") {
        let channel = hasty.clone();
        calls.spawn(async move { (method, soon(method, call(&channel, method, request)).await) });
    }
    let results = calls.join_all().await;
    signal(&server, rustix::process::Signal::CONT);
    for (method, result) in results {
        match result {
            // Not healthy, or no reply in time.
            Ok(_) => assert!(["HealthCheck", "Request"].contains(&method), "{method}"),
            Err(status) => assert_eq!(status.code(), Code::DeadlineExceeded, "{method}: {status:?}"),
        }
    }
    for (method, request) in requests("u") {
        soon(method, call(&patient, method, request)).await.expect(method);
    }
}

#[tokio::test]
async fn everything_works_after_the_server_died() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    let channel = channel(&service.url).await;
    prepare(&channel, "u").await;
    let mut client = service.client.clone();
    let subscribe = SubscribeRequest { user_id: "u".into(), subject: "kept".into(), ..Default::default() };
    let mut stream = client.subscribe(subscribe).await.unwrap().into_inner();
    // A waiting pull, and an upload in progress.
    let pull = PullMessagesRequest {
        user_id: "w".into(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        max_wait: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
        ..Default::default()
    };
    client.create_stream(create("w", named("s"))).await.unwrap();
    client.create_consumer(consumer("w", durable("c"))).await.unwrap();
    let mut waiting = client.clone();
    let mut waits = Request::new(pull);
    waits.set_timeout(Duration::from_secs(2));
    let waiting = tokio::spawn(async move { waiting.pull_messages(waits).await });
    let (chunks, uploaded) = tokio::sync::mpsc::channel(1);
    let mut uploading = client.clone();
    let mut upload = Request::new(tokio_stream::wrappers::ReceiverStream::new(uploaded));
    upload.set_timeout(Duration::from_secs(2));
    let uploading = tokio::spawn(async move { uploading.object_upload(upload).await });
    let chunk = ObjectChunk {
        user_id: "u".into(),
        bucket: "b".into(),
        object_name: "half".into(),
        data: vec![1; 300_000].into(),
        ..Default::default()
    };
    chunks.send(chunk.clone()).await.unwrap();

    let progress = Arc::<Progress>::default();
    let mut calls = JoinSet::new();
    for (method, request) in requests("u") {
        calls.spawn(insist(channel.clone(), method, request, Duration::from_secs(1), progress.clone()));
    }
    for _ in 0..2 {
        // In the midst of calls.
        let ended = || progress.ended.load(Ordering::Acquire);
        let before = ended();
        eventually("calls", async || ended() >= before + calls.len()).await;
        server.kill().unwrap();
        // The service notices, and refuses calls at once.
        let refused = PublishRequest { user_id: "u".into(), subject: "a".into(), ..Default::default() };
        eventually("refusals", async || {
            let result = client.publish(refused.clone()).await;
            result.is_err_and(|status| status.code() == Code::Unavailable)
        })
        .await;
        server.restart().unwrap();
    }
    progress.last.store(true, Ordering::Release);
    soon("all methods", calls.join_all()).await;
    // The calls in progress have ended, with or without success.
    match soon("a pull", waiting).await.unwrap() {
        Ok(response) => assert!(response.into_inner().messages.is_empty()),
        Err(status) => assert!(
            matches!(
                status.code(),
                Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::NotFound
            ),
            "{status:?}"
        ),
    }
    let sent = chunks.send(ObjectChunk { data: vec![2; 300_000].into(), ..Default::default() }).await;
    drop(chunks);
    let get = ObjectGetRequest {
        user_id: "u".into(),
        bucket: "b".into(),
        object_name: "half".into(),
        ..Default::default()
    };
    match soon("an upload", uploading).await.unwrap() {
        // All of the object, or nothing.
        Ok(_) => {
            sent.unwrap();
            assert_eq!(client.object_get(get).await.unwrap().into_inner().data.len(), 600_000);
        }
        Err(_) => assert!(!client.object_get(get).await.unwrap().into_inner().found),
    }
    publish(&client, "u", "kept", "x").await;
    assert_eq!(soon("a message", stream.message()).await.unwrap().unwrap().data, "x");
}

#[tokio::test]
async fn a_download_resumes_after_the_server_died() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    let mut client = service.client.clone();
    // More than fits on the way to the client.
    let data: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    client.object_put(objects::put("u", "o", data.clone())).await.unwrap();
    let get = ObjectGetRequest {
        user_id: "u".into(),
        bucket: "b".into(),
        object_name: "o".into(),
        ..Default::default()
    };
    let mut chunks = client.object_download(get).await.unwrap().into_inner();
    let mut read = chunks.message().await.unwrap().expect("a description").data.to_vec();
    server.kill().unwrap();
    eventually("refusals", async || {
        let publish = PublishRequest { user_id: "u".into(), subject: "a".into(), ..Default::default() };
        client.publish(publish).await.is_err_and(|status| status.code() == Code::Unavailable)
    })
    .await;
    server.restart().unwrap();
    while let Some(chunk) = soon("a chunk", chunks.message()).await.unwrap() {
        read.extend_from_slice(&chunk.data);
    }
    assert!(read == data);
}

#[tokio::test]
async fn messages_pulled_by_a_lost_service_are_redelivered() {
    let user = new_user();
    let (here, there) = (Service::start().await, Service::start().await);
    here.client.clone().create_stream(create(&user, named("s"))).await.unwrap();
    let wait = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let config = ConsumerConfig { ack_wait: wait, ..durable("c") };
    here.client.clone().create_consumer(consumer(&user, config)).await.unwrap();
    for _ in 0..3 {
        store(&here.client, &user, "s.a", "x").await;
    }
    let pull = PullMessagesRequest {
        user_id: user,
        stream_name: "s".into(),
        consumer_name: "c".into(),
        max_wait: wait,
        ..Default::default()
    };
    let messages = here.client.clone().pull_messages(pull.clone()).await.unwrap().into_inner().messages;
    assert_eq!(messages.len(), 3);
    // Another pull waits when the service goes.
    let mut leaving = here.client.clone();
    let waiting = tokio::spawn({
        let pull = pull.clone();
        async move { leaving.pull_messages(pull).await }
    });
    tokio::task::yield_now().await;
    drop(here);
    waiting.abort();
    let mut again = HashSet::new();
    eventually("all of them", async || {
        let pulled = there.client.clone().pull_messages(pull.clone()).await.unwrap().into_inner().messages;
        assert!(pulled.iter().all(|message| message.num_delivered > 1), "{pulled:?}");
        again.extend(pulled.iter().map(|message| message.sequence));
        again.len() == 3
    })
    .await;
}

#[tokio::test]
async fn calls_fail_at_once_without_a_server() {
    let server = Server::builder().jetstream(true).start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    let channel = channel(&service.url).await;
    prepare(&channel, "u").await;
    drop(server);
    eventually("the end", async || {
        let nats = service.service.connection().client();
        nats.connection_state() != async_nats::connection::State::Connected
    })
    .await;
    for (method, request) in requests("u") {
        match soon(method, call(&channel, method, request)).await {
            Ok(_) => assert_eq!(method, "HealthCheck"),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{method}: {status:?}"),
        }
    }
    let (user_id, stream_name, consumer_name) = ("u".to_owned(), "s".to_owned(), "c".to_owned());
    let consume = ConsumeMessagesRequest { user_id, stream_name, consumer_name, ..Default::default() };
    let status = service.client.clone().consume_messages(consume).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let watch = KvWatchRequest { user_id: "u".into(), bucket: "b".into(), ..Default::default() };
    let status = service.client.clone().kv_watch(watch).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}
