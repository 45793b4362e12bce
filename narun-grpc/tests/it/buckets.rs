//! Settings of buckets.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, StorageType};
use narun_grpc::BucketSettings;
use narun_grpc::pb::{KvGetRequest, KvKeysRequest, KvPutRequest};

use crate::harness::{Service, connect, eventually, new_user};
use crate::{kv, objects};

fn put(user: &str) -> KvPutRequest {
    kv::put(user, "b", "k", "v")
}

async fn config(stream: String) -> Config {
    let mut stream = jetstream::new(connect().await).get_stream(stream).await.expect("a stream");
    stream.info().await.expect("its state").config.clone()
}

#[tokio::test]
async fn buckets_are_created_with_the_settings() {
    let (age, user) = (Duration::from_secs(60), new_user());
    let kv = BucketSettings::new().history(5).max_age(age).memory(true);
    let objects = BucketSettings::new().max_age(age * 2).memory(true);
    let mut service = Service::with(|builder| builder.kv_buckets(kv).object_buckets(objects)).await;
    service.client.kv_put(put(&user)).await.unwrap();
    service.client.object_put(objects::put(&user, "o", "")).await.unwrap();
    let made = config(format!("KV_kv-user-{user}-b")).await;
    assert_eq!((made.max_messages_per_subject, made.max_age, made.storage), (5, age, StorageType::Memory));
    let made = config(format!("OBJ_obj-user-{user}-b")).await;
    assert_eq!(
        (made.max_messages_per_subject, made.max_age, made.storage),
        (-1, age * 2, StorageType::Memory)
    );

    let (mut service, user) = (Service::start().await, new_user());
    service.client.kv_put(put(&user)).await.unwrap();
    let made = config(format!("KV_kv-user-{user}-b")).await;
    let expected = (1, Duration::ZERO, StorageType::File);
    assert_eq!((made.max_messages_per_subject, made.max_age, made.storage), expected);
    assert_eq!(BucketSettings::new().history(0), BucketSettings::new());
    assert_eq!(BucketSettings::new().history(255).replicas(9), BucketSettings::new().history(64).replicas(5));
}

#[tokio::test]
async fn old_values_are_removed() {
    let settings = BucketSettings::new().max_age(Duration::from_millis(100)).memory(true);
    let (mut service, user) = (Service::with(|builder| builder.kv_buckets(settings)).await, new_user());
    service.client.kv_put(put(&user)).await.unwrap();
    let (user_id, bucket) = (user, "b".to_owned());
    let keys = KvKeysRequest { user_id: user_id.clone(), bucket: bucket.clone(), ..Default::default() };
    eventually("no key", async || {
        service.client.kv_keys(keys.clone()).await.unwrap().into_inner().keys.is_empty()
    })
    .await;
    let get = KvGetRequest { user_id, bucket, key: "k".into(), ..Default::default() };
    assert!(!service.client.kv_get(get).await.unwrap().into_inner().found);
}

#[tokio::test]
async fn two_clients_that_create_a_bucket_at_once_both_put_a_key() {
    let settings = BucketSettings::new().history(7);
    let (here, there) = (Service::start().await, Service::with(|builder| builder.kv_buckets(settings)).await);
    for _ in 0..10 {
        let user = new_user();
        let (mut one, mut other) = (here.client.clone(), there.client.clone());
        let (one, other) = tokio::join!(one.kv_put(put(&user)), other.kv_put(put(&user)));
        let (one, other) = (one.unwrap().into_inner().revision, other.unwrap().into_inner().revision);
        assert_eq!(one.min(other)..=one.max(other), 1..=2);
    }
}
