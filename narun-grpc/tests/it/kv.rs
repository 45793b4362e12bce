//! KVPut, KVGet, KVDelete and KVKeys.

use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use narun_grpc::NatsService;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{
    KvDeleteRequest, KvGetRequest, KvGetResponse, KvKeysRequest, KvPutRequest, ObjectPutRequest,
    PublishRequest, PublishToStreamRequest,
};
use narun_grpc::tenancy::Quotas;
use narun_support::Server;
use tonic::Code;

use crate::harness::{GrpcClient, Service, connect, new_user, settle};
use crate::streams::{create, named};

pub(crate) fn put(user: &str, bucket: &str, key: &str, value: &str) -> KvPutRequest {
    KvPutRequest {
        user_id: user.to_owned(),
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..Default::default()
    }
}

pub(crate) async fn get(client: &GrpcClient, user: &str, bucket: &str, key: &str) -> KvGetResponse {
    let (user_id, bucket, key) = (user.to_owned(), bucket.to_owned(), key.to_owned());
    let request = KvGetRequest { user_id, bucket, key, ..Default::default() };
    client.clone().kv_get(request).await.expect("a response").into_inner()
}

async fn keys(client: &GrpcClient, user: &str, bucket: &str) -> Vec<String> {
    let request = KvKeysRequest { user_id: user.to_owned(), bucket: bucket.to_owned(), ..Default::default() };
    client.clone().kv_keys(request).await.expect("a response").into_inner().keys
}

async fn delete(client: &GrpcClient, user: &str, bucket: &str, key: &str) -> bool {
    let (user_id, bucket, key) = (user.to_owned(), bucket.to_owned(), key.to_owned());
    let request = KvDeleteRequest { user_id, bucket, key, ..Default::default() };
    client.clone().kv_delete(request).await.expect("a response").into_inner().success
}

#[tokio::test]
async fn a_key_is_put_read_listed_and_deleted() {
    let (mut service, user) = (Service::start().await, new_user());
    let client = service.client.clone();
    assert!(!get(&client, &user, "b", "k").await.found);
    assert!(!delete(&client, &user, "b", "k").await);
    assert!(keys(&client, &user, "b").await.is_empty());
    let first = service.client.kv_put(put(&user, "b", "k", "1")).await.unwrap().into_inner();
    let second = service.client.kv_put(put(&user, "b", "k", "2")).await.unwrap().into_inner();
    assert!(first.success && second.success && second.revision > first.revision);
    let entry = get(&client, &user, "b", "k").await;
    assert!(entry.found && entry.created.is_some());
    assert_eq!((entry.value, entry.revision), (Bytes::from_static(b"2"), second.revision));
    assert_eq!(keys(&client, &user, "b").await, ["k"]);
    // A value may be empty.
    service.client.kv_put(put(&user, "b", "e", "")).await.unwrap();
    assert!(get(&client, &user, "b", "e").await.found);
    assert!(delete(&client, &user, "b", "k").await);
    assert!(!delete(&client, &user, "b", "k").await);
    assert!(!get(&client, &user, "b", "k").await.found);
    assert!(!get(&client, &user, "b", "other").await.found);
    assert_eq!(keys(&client, &user, "b").await, ["e"]);
    assert!(!get(&client, &new_user(), "b", "e").await.found);
}

#[tokio::test]
async fn keys_are_any_text() {
    let (mut service, user) = (Service::start().await, new_user());
    let mut all = [
        "a", "A", "a.b", "a..b", ".a", "a.", "..", "*", ">", "a.*", "a b", " ", "_", "_2e", "a/b", "ä",
        "日本", "a\r\nb", "\0", "$KV.x", "=",
    ];
    for key in all {
        service.client.kv_put(put(&user, "b", key, key)).await.expect(key);
    }
    let client = service.client.clone();
    for key in all {
        assert_eq!(get(&client, &user, "b", key).await.value, key, "{key:?}");
    }
    all.sort_unstable();
    assert_eq!(keys(&client, &user, "b").await, all);
}

#[tokio::test]
async fn other_clients_see_the_same_bucket() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.kv_put(put(&user, "b", "plain.key", "here")).await.unwrap();
    let context = jetstream::new(connect().await);
    let store = context.get_key_value(format!("kv-user-{user}-b")).await.unwrap();
    assert_eq!(store.get("plain.key").await.unwrap().unwrap(), "here");
    let revision = store.put("plain.key", "there".into()).await.unwrap();
    let entry = get(&service.client, &user, "b", "plain.key").await;
    assert_eq!(entry.value, "there");
    assert_eq!(u64::try_from(entry.revision).unwrap(), revision);
    store.purge("plain.key").await.unwrap();
    assert!(!get(&service.client, &user, "b", "plain.key").await.found);
}

#[tokio::test]
async fn invalid_keys_and_buckets_are_refused() {
    let mut service = Service::with(|builder| builder.quotas(Quotas::new().buckets(1))).await;
    let user = new_user();
    for (bucket, key) in
        [("", "k"), ("a.b", "k"), ("a b", "k"), ("ä", "k"), ("b", ""), ("b", &"k".repeat(4000))]
    {
        let status = service.client.kv_put(put(&user, bucket, key, "")).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{bucket:?} {key:.20?}");
    }
    let status = service.client.kv_put(put(&user, &"b".repeat(253), "k", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    service.client.kv_put(put(&user, "a", "k", "")).await.unwrap();
    let status = service.client.kv_put(put(&user, "b", "k", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    service.client.kv_put(put(&user, "a", "l", "")).await.unwrap();
    let limit = service.service.connection().client().max_payload();
    let large = put(&user, "a", "k", &"x".repeat(limit));
    assert_eq!(service.client.kv_put(large).await.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn streams_and_objects_count_as_stored_bytes() {
    let limits = Quotas::new().stored_bytes(10_000).buckets(1);
    let mut service = Service::with(|builder| builder.quotas(limits)).await;
    let user = new_user();
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let value = Bytes::from(vec![0; 6000]);
    let object = ObjectPutRequest {
        user_id: user.clone(),
        bucket: "b".into(),
        object_name: "o".into(),
        data: value.clone(),
        ..Default::default()
    };
    service.client.object_put(object.clone()).await.unwrap();
    let publish = PublishToStreamRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        subject: "s.a".into(),
        data: value.clone(),
        ..Default::default()
    };
    let status = service.client.publish_to_stream(publish.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let (user_id, subject) = (user.clone(), "s.a".to_owned());
    let status = service
        .client
        .publish(PublishRequest { user_id, subject, data: value, ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(service.client.object_put(object.clone()).await.unwrap_err().code(), Code::ResourceExhausted);
    let small = PublishToStreamRequest { data: Bytes::from_static(b"x"), ..publish };
    service.client.publish_to_stream(small).await.unwrap();
    // The quota of buckets counts both kinds.
    let status = service.client.kv_put(put(&user, "b", "k", "x")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn stored_bytes_have_a_quota() {
    let mut service = Service::with(|builder| builder.quotas(Quotas::new().stored_bytes(10_000))).await;
    let (user, other) = (new_user(), new_user());
    let value = "x".repeat(6000);
    service.client.kv_put(put(&user, "b", "k", &value)).await.unwrap();
    let status = service.client.kv_put(put(&user, "b", "l", &value)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    service.client.kv_put(put(&other, "b", "k", &value)).await.unwrap();
    // Another replica looks the stored bytes up.
    let mut there = Service::with(|builder| builder.quotas(Quotas::new().stored_bytes(10_000))).await;
    let status = there.client.kv_put(put(&user, "b", "l", &value)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    there.client.kv_put(put(&user, "b", "l", "x")).await.unwrap();
}

#[tokio::test]
async fn a_deleted_bucket_is_missing_and_is_created_again() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.kv_put(put(&user, "b", "k", "v")).await.unwrap();
    assert!(get(&service.client, &user, "b", "k").await.found);
    let context = jetstream::new(connect().await);
    context.delete_key_value(format!("kv-user-{user}-b")).await.unwrap();
    assert!(!get(&service.client, &user, "b", "k").await.found);
    assert!(keys(&service.client, &user, "b").await.is_empty());
    assert!(!delete(&service.client, &user, "b", "k").await);
    service.client.kv_put(put(&user, "b", "k", "v")).await.unwrap();
    assert_eq!(keys(&service.client, &user, "b").await, ["k"]);
}

#[tokio::test]
async fn a_subscriber_of_all_subjects_blocks_nothing() {
    let server = Server::builder().jetstream(true).start().expect("a nats-server");
    let nats = async_nats::connect(server.url()).await.unwrap();
    let _spy = nats.subscribe(">").await.unwrap();
    settle(&nats).await;
    let builder =
        NatsService::builder(nats).authenticator(TrustRequest::new()).timeout(Duration::from_secs(20));
    let mut service = Service::serve(builder.build()).await;
    assert!(!get(&service.client, "u", "b", "k").await.found);
    service.client.kv_put(put("u", "b", "k", "v")).await.unwrap();
    assert_eq!(get(&service.client, "u", "b", "k").await.value, "v");
}

#[tokio::test]
async fn many_keys_are_listed() {
    let (service, user) = (Service::start().await, new_user());
    let puts = (0..600).map(|number| {
        let (mut client, request) = (service.client.clone(), put(&user, "b", &format!("k{number:03}"), ""));
        async move { client.kv_put(request).await.map(drop) }
    });
    for result in futures::future::join_all(puts).await {
        result.unwrap();
    }
    let expected: Vec<_> = (0..600).map(|number| format!("k{number:03}")).collect();
    assert_eq!(keys(&service.client, &user, "b").await, expected);
}
