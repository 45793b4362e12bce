//! Older NATS servers.

use async_nats::Client;
use bytes::Bytes;
use narun_grpc::NatsService;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{
    AckMessageRequest, ConsumeMessagesRequest, GetStatisticsRequest, KvGetRequest, KvPutRequest,
    KvWatchRequest, NatsHealthCheckRequest, ObjectGetRequest, ObjectPutRequest, PullMessagesRequest,
};
use narun_support::{Binary, Server};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tonic::Code;

use crate::consumers::{consumer, durable};
use crate::harness::{Service, soon};
use crate::streams::{create, named, store};

async fn serve(nats: Client) -> Service {
    Service::serve(NatsService::builder(nats).authenticator(TrustRequest::new()).build()).await
}

#[tokio::test]
async fn the_main_methods_work_on_2_10() {
    let binary = Binary::version("2.10.26").expect("a nats-server");
    let server = Server::builder().binary(binary).jetstream(true).start().expect("a nats-server");
    let service = serve(async_nats::connect(server.url()).await.unwrap()).await;
    let mut client = service.client.clone();
    let user = "u".to_owned();
    client.create_stream(create(&user, named("s"))).await.unwrap();
    client.create_consumer(consumer(&user, durable("c"))).await.unwrap();
    store(&client, &user, "s.a", "x").await;
    let pull = PullMessagesRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        ..Default::default()
    };
    let messages = client.pull_messages(pull).await.unwrap().into_inner().messages;
    assert_eq!((messages.len(), messages[0].subject.as_str()), (1, "s.a"));
    let ack = AckMessageRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        sequence: 1,
        ..Default::default()
    };
    assert!(client.ack_message(ack).await.unwrap().into_inner().success);
    let consume = ConsumeMessagesRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        ..Default::default()
    };
    let mut messages = client.consume_messages(consume).await.unwrap().into_inner();
    store(&client, &user, "s.a", "x").await;
    assert_eq!(soon("a message", messages.message()).await.unwrap().unwrap().sequence, 2);

    let (bucket, key, value) = ("b".to_owned(), "k".to_owned(), Bytes::from_static(b"v"));
    let mut put =
        KvPutRequest { user_id: user.clone(), bucket: bucket.clone(), key, value, ..Default::default() };
    let get = KvGetRequest {
        user_id: user.clone(),
        bucket: bucket.clone(),
        key: put.key.clone(),
        ..Default::default()
    };
    assert!(!client.kv_get(get.clone()).await.unwrap().into_inner().found);
    client.kv_put(put.clone()).await.unwrap();
    assert_eq!(client.kv_get(get).await.unwrap().into_inner().value, "v");
    let watch = KvWatchRequest {
        user_id: user.clone(),
        bucket: bucket.clone(),
        key: "k".into(),
        ..Default::default()
    };
    let mut entries = client.kv_watch(watch).await.unwrap().into_inner();
    assert_eq!(soon("an entry", entries.message()).await.unwrap().unwrap().value, "v");
    assert!(soon("an entry", entries.message()).await.unwrap().unwrap().up_to_date);
    put.expected_revision = Some(0);
    assert_eq!(client.kv_put(put.clone()).await.unwrap_err().code(), Code::AlreadyExists);
    put.expected_revision = Some(1);
    assert_eq!(client.kv_put(put).await.unwrap().into_inner().revision, 2);
    assert_eq!(soon("an entry", entries.message()).await.unwrap().unwrap().revision, 2);

    let object_name = "o".to_owned();
    let put = ObjectPutRequest {
        user_id: user.clone(),
        bucket: bucket.clone(),
        object_name: object_name.clone(),
        data: vec![1; 300_000].into(),
        ..Default::default()
    };
    client.object_put(put).await.unwrap();
    let get = ObjectGetRequest { user_id: user.clone(), bucket, object_name, ..Default::default() };
    assert_eq!(client.object_get(get).await.unwrap().into_inner().data.len(), 300_000);
    let statistics = GetStatisticsRequest { user_id: user, ..Default::default() };
    let statistics = client.get_statistics(statistics).await.unwrap().into_inner();
    assert_eq!((statistics.total_streams, statistics.total_messages), (1, 2));
}

/// A fake server of version 2.9 that responds to pings.
async fn play_old(listener: TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    let info =
        br#"INFO {"server_id":"x","version":"2.9.10","max_payload":1048576,"headers":true,"jetstream":true}"#;
    stream.write_all(&[info, &b"\r\n"[..]].concat()).await.unwrap();
    let mut line = String::new();
    // Until the client disconnects.
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        if line.starts_with("PING") {
            stream.write_all(b"PONG\r\n").await.unwrap();
        }
        line.clear();
    }
}

#[tokio::test]
async fn an_old_server_is_refused_and_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let playing = tokio::spawn(play_old(listener));
    let service = serve(async_nats::connect(url).await.unwrap()).await;
    let mut client = service.client.clone();
    let status = client.create_stream(create("u", named("s"))).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("2.10"), "{}", status.message());
    let (user_id, bucket) = ("u".to_owned(), "b".to_owned());
    let put = KvPutRequest { user_id, bucket, key: "k".into(), ..Default::default() };
    assert_eq!(client.kv_put(put).await.unwrap_err().code(), Code::FailedPrecondition);
    let statistics = GetStatisticsRequest { user_id: "u".into(), ..Default::default() };
    assert_eq!(client.get_statistics(statistics).await.unwrap_err().code(), Code::FailedPrecondition);
    // The fake server does not respond to requests.
    let health = client.health_check(NatsHealthCheckRequest { deep_check: true }).await.unwrap().into_inner();
    assert!(!health.healthy && !health.jetstream_enabled);
    playing.abort();
}
