//! KVPut and KVDelete with an expected revision, and KVDelete with purge.

use async_nats::jetstream;
use narun_grpc::BucketSettings;
use narun_grpc::pb::{KvDeleteRequest, KvPutRequest};
use tonic::Code;

use crate::harness::{GrpcClient, Service, connect, new_user};
use crate::kv::{get, put};

async fn put_at(client: &GrpcClient, user: &str, value: &str, expected: i64) -> Result<i64, Code> {
    let request = KvPutRequest { expected_revision: Some(expected), ..put(user, "b", "k", value) };
    let result = client.clone().kv_put(request).await;
    result.map(|response| response.into_inner().revision).map_err(|status| status.code())
}

async fn put_any(client: &GrpcClient, user: &str, value: &str) -> i64 {
    client.clone().kv_put(put(user, "b", "k", value)).await.expect("stored").into_inner().revision
}

async fn delete(client: &GrpcClient, user: &str, expected: Option<i64>, purge: bool) -> Result<bool, Code> {
    let request = KvDeleteRequest {
        user_id: user.to_owned(),
        bucket: "b".into(),
        key: "k".into(),
        expected_revision: expected,
        purge,
        ..Default::default()
    };
    let result = client.clone().kv_delete(request).await;
    result.map(|response| response.into_inner().success).map_err(|status| status.code())
}

/// The number of values and markers that the bucket keeps.
async fn kept(user: &str) -> u64 {
    let context = jetstream::new(connect().await);
    let mut stream = context.get_stream(format!("KV_kv-user-{user}-b")).await.expect("a stream");
    stream.info().await.expect("its state").state.messages
}

#[tokio::test]
async fn a_key_is_only_put_at_the_expected_revision() {
    let (service, user) = (Service::start().await, new_user());
    let client = &service.client;
    // No bucket is created for an expectation that cannot hold.
    assert_eq!(put_at(client, &user, "x", 1).await, Err(Code::Aborted));
    assert!(jetstream::new(connect().await).get_stream(format!("KV_kv-user-{user}-b")).await.is_err());
    let first = put_any(client, &user, "1").await;
    let second = put_at(client, &user, "2", first).await.unwrap();
    for wrong in [first, second + 1, i64::MAX] {
        assert_eq!(put_at(client, &user, "x", wrong).await, Err(Code::Aborted), "{wrong}");
    }
    assert_eq!(put_at(client, &user, "x", -1).await, Err(Code::InvalidArgument));
    let entry = get(client, &user, "b", "k").await;
    assert_eq!((&entry.value[..], entry.revision), (&b"2"[..], second));
    // Without an expected revision.
    assert!(put_any(client, &user, "3").await > second);
    // No other key has that revision.
    assert_eq!(put_at(client, &new_user(), "x", second).await, Err(Code::Aborted));
}

#[tokio::test]
async fn a_key_is_created_once_until_it_is_deleted() {
    let (service, user) = (Service::start().await, new_user());
    let client = &service.client;
    put_at(client, &user, "1", 0).await.unwrap();
    assert_eq!(put_at(client, &user, "x", 0).await, Err(Code::AlreadyExists));
    assert_eq!(get(client, &user, "b", "k").await.value, "1");
    for purge in [false, true] {
        assert_eq!(delete(client, &user, None, purge).await, Ok(true));
        put_at(client, &user, "2", 0).await.unwrap();
        assert_eq!(put_at(client, &user, "x", 0).await, Err(Code::AlreadyExists));
    }
    assert_eq!(get(client, &user, "b", "k").await.value, "2");
}

#[tokio::test]
async fn one_of_many_concurrent_puts_succeeds() {
    let (service, user) = (Service::start().await, new_user());
    let at_once = async |expected: i64| {
        let puts = (0..16).map(|_| put_at(&service.client, &user, "x", expected));
        let results = futures::future::join_all(puts).await;
        let mut stored = results.iter().filter_map(|result| result.ok());
        let (one, other) = (stored.next().expect("one that stored"), stored.next());
        assert_eq!(other, None, "{results:?}");
        let refused = if expected == 0 { Code::AlreadyExists } else { Code::Aborted };
        assert!(results.iter().all(|result| result.is_ok() || *result == Err(refused)), "{results:?}");
        one
    };
    let revision = at_once(0).await;
    at_once(revision).await;
    assert_eq!(delete(&service.client, &user, None, false).await, Ok(true));
    at_once(0).await;
}

#[tokio::test]
async fn a_key_is_only_deleted_at_the_expected_revision() {
    let (service, user) = (Service::start().await, new_user());
    let client = &service.client;
    assert_eq!(delete(client, &user, Some(1), false).await, Ok(false));
    let revision = put_any(client, &user, "1").await;
    for purge in [false, true] {
        for (wrong, code) in
            [(revision + 1, Code::Aborted), (0, Code::InvalidArgument), (-1, Code::InvalidArgument)]
        {
            assert_eq!(delete(client, &user, Some(wrong), purge).await, Err(code), "{wrong}");
        }
    }
    assert_eq!(get(client, &user, "b", "k").await.value, "1");
    assert_eq!(delete(client, &user, Some(revision), false).await, Ok(true));
    assert!(!get(client, &user, "b", "k").await.found);
    assert_eq!(delete(client, &user, Some(revision), false).await, Ok(false));
}

#[tokio::test]
async fn a_purge_deletes_the_history() {
    let settings = BucketSettings::new().history(5);
    let (service, user) = (Service::with(|builder| builder.kv_buckets(settings)).await, new_user());
    let client = &service.client;
    assert_eq!(delete(client, &user, None, true).await, Ok(false));
    for value in ["1", "2", "3"] {
        put_any(client, &user, value).await;
    }
    client.clone().kv_put(put(&user, "b", "other", "stays")).await.unwrap();
    assert_eq!(delete(client, &user, None, false).await, Ok(true));
    assert_eq!(kept(&user).await, 5);
    // A deleted key still has a history.
    assert_eq!(delete(client, &user, None, true).await, Ok(true));
    assert_eq!(kept(&user).await, 2);
    assert_eq!(delete(client, &user, None, true).await, Ok(false));
    assert!(!get(client, &user, "b", "k").await.found);
    assert!(get(client, &user, "b", "other").await.found);
    let revision = put_any(client, &user, "4").await;
    assert_eq!(delete(client, &user, Some(revision), true).await, Ok(true));
    assert_eq!(kept(&user).await, 2);
}
