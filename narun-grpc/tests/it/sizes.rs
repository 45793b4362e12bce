//! Limits of messages: clients take responses of 4 MiB by default, as the one of these tests does.

use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::AckPolicy;
use narun_grpc::pb::{
    KvGetRequest, KvHistoryRequest, KvPutRequest, ObjectGetRequest, PublishRequest, SubscribeRequest,
};
use narun_grpc::{BucketSettings, NatsService};
use narun_support::Server;
use tonic::Code;

use crate::harness::{Service, new_user, soon};
use crate::messages::{prepared, pulled};
use crate::objects;
use crate::streams::store;

/// The default limit of a request's message.
const MESSAGE_LIMIT: usize = 16 << 20;

fn text(size: usize) -> String {
    "x".repeat(size)
}

#[tokio::test]
async fn a_pull_takes_no_more_messages_than_fit_a_response() {
    let (service, user) = prepared(AckPolicy::AckExplicit).await;
    for _ in 0..10 {
        store(&service.client, &user, "s.a", &text(600_000)).await;
    }
    let mut sequences = Vec::new();
    while sequences.len() < 10 {
        let messages = pulled(&service.client, &user, 10).await;
        assert!(messages.len() >= 4, "{}", messages.len());
        // A message that came with an earlier response, or was given back, would count another delivery.
        assert!(messages.iter().all(|message| message.num_delivered == 1));
        sequences.extend(messages.iter().map(|message| message.sequence));
    }
    assert_eq!(sequences, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn small_messages_fit_with_all_that_belongs_to_them() {
    let (storing, user) = prepared(AckPolicy::AckExplicit).await;
    for _ in 0..100 {
        store(&storing.client, &user, "s.a", "").await;
    }
    let service = Service::with(|builder| builder.response_limit(4000)).await;
    let mut count = 0;
    while count < 100 {
        let messages = pulled(&service.client, &user, 100).await;
        assert!((1..100).contains(&messages.len()));
        count += messages.len();
    }
}

#[tokio::test]
async fn a_larger_object_is_downloaded_instead() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.object_put(objects::put(&user, "small", text(4_000_000))).await.unwrap();
    service.client.object_put(objects::put(&user, "large", text(6 << 20))).await.unwrap();
    let get = |name: &str| ObjectGetRequest {
        user_id: user.clone(),
        bucket: "b".into(),
        object_name: name.to_owned(),
        ..Default::default()
    };
    assert_eq!(service.client.object_get(get("small")).await.unwrap().into_inner().data.len(), 4_000_000);
    let status = service.client.object_get(get("large")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("ObjectDownload"), "{status:?}");
    let mut chunks = service.client.object_download(get("large")).await.unwrap().into_inner();
    let mut size = 0;
    while let Some(chunk) = chunks.message().await.unwrap() {
        size += chunk.data.len();
    }
    assert_eq!(size, 6 << 20);
    // Larger chunks than fit a response are sent in pieces.
    let tiny = Service::with(|builder| builder.response_limit(1000)).await;
    let mut chunks = tiny.client.clone().object_download(get("small")).await.unwrap().into_inner();
    let mut size = 0;
    while let Some(chunk) = chunks.message().await.unwrap() {
        size += chunk.data.len();
    }
    assert_eq!(size, 4_000_000);
}

#[tokio::test]
async fn other_responses_over_the_limit_are_resource_exhausted() {
    let server = Server::builder().jetstream(true).config("max_payload: 8MB").start().expect("a nats-server");
    let nats = async_nats::connect(server.url()).await.unwrap();
    let builder = NatsService::builder(nats).authenticator(TrustRequest::new());
    let mut service = Service::serve(builder.kv_buckets(BucketSettings::new().history(8)).build()).await;
    let user = new_user();
    let put = |key: &str, size: usize| KvPutRequest {
        user_id: user.clone(),
        bucket: "b".into(),
        key: key.to_owned(),
        value: text(size).into(),
        ..Default::default()
    };
    for _ in 0..5 {
        service.client.kv_put(put("history", 1_000_000)).await.unwrap();
    }
    service.client.kv_put(put("large", 5_000_000)).await.unwrap();
    let (user_id, bucket) = (user.clone(), "b".to_owned());
    let get = KvGetRequest { user_id, bucket, key: "large".into(), ..Default::default() };
    let status = service.client.kv_get(get).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("response"), "{status:?}");
    let (user_id, bucket) = (user.clone(), "b".to_owned());
    let history = KvHistoryRequest { user_id, bucket, key: "history".into(), ..Default::default() };
    let status = service.client.kv_history(history).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);

    let subscribe = SubscribeRequest { user_id: user.clone(), subject: "a".into(), ..Default::default() };
    let mut messages = service.client.subscribe(subscribe).await.unwrap().into_inner();
    let publish = PublishRequest {
        user_id: user,
        subject: "a".into(),
        data: text(5_000_000).into(),
        ..Default::default()
    };
    service.client.publish(publish).await.unwrap();
    let status = soon("an end", messages.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_request_over_the_limit_is_resource_exhausted() {
    let (mut service, user) = (Service::start().await, new_user());
    let publish = |size: usize| PublishRequest {
        user_id: user.clone(),
        subject: "a".into(),
        data: text(size).into(),
        ..Default::default()
    };
    for (size, text) in [(MESSAGE_LIMIT, "16777216"), (1 << 21, "1048576")] {
        let status = service.client.publish(publish(size)).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        // The limit of the service, then that of the NATS server.
        assert!(status.message().contains(text), "{status:?}");
    }
    service.client.publish(publish(1)).await.unwrap();
}
