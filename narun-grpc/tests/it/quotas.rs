//! Quotas of tenants.

use futures::future::join_all;
use narun_grpc::pb::{
    DeleteStreamRequest, KvPutRequest, PublishRequest, PublishToStreamRequest, StreamConfig,
    UpdateStreamRequest,
};
use narun_grpc::tenancy::Quotas;
use tonic::{Code, Response, Status};

use crate::consumers::{consumer, durable};
use crate::harness::{Service, new_user};
use crate::streams::{create, named};

fn count<T>(results: Vec<Result<Response<T>, Status>>) -> usize {
    let refused = |status: &Status| assert_eq!(status.code(), Code::ResourceExhausted);
    results.into_iter().filter(|result| result.as_ref().inspect_err(|status| refused(status)).is_ok()).count()
}

#[tokio::test]
async fn parallel_calls_create_no_more_than_the_quotas() {
    let quotas = Quotas::new().streams(3).consumers(2).buckets(4);
    let (service, user) = (Service::with(|builder| builder.quotas(quotas)).await, new_user());
    let streams = (0..9).map(|number| {
        let (mut client, request) = (service.client.clone(), create(&user, named(&format!("s{number}"))));
        async move { client.create_stream(request).await }
    });
    assert_eq!(count(join_all(streams).await), 3);
    service.client.clone().create_stream(create(&new_user(), named("other"))).await.unwrap();
    let buckets = (0..9).map(|number| {
        let (user_id, bucket, key) = (user.clone(), format!("b{number}"), "k".to_owned());
        let request = KvPutRequest { user_id, bucket, key, ..Default::default() };
        let mut client = service.client.clone();
        async move { client.kv_put(request).await }
    });
    assert_eq!(count(join_all(buckets).await), 4);
    let (user, mut client) = (new_user(), service.client.clone());
    client.create_stream(create(&user, named("s"))).await.unwrap();
    let consumers = (0..9).map(|number| {
        let (mut client, request) = (client.clone(), consumer(&user, durable(&format!("c{number}"))));
        async move { client.create_consumer(request).await }
    });
    assert_eq!(count(join_all(consumers).await), 2);
}

#[tokio::test]
async fn reserved_bytes_count() {
    let quotas = Quotas::new().stored_bytes(1 << 20);
    let (mut service, user) = (Service::with(|builder| builder.quotas(quotas)).await, new_user());
    let reserving = |name: &str, max_bytes: i64| create(&user, StreamConfig { max_bytes, ..named(name) });
    let code = |result: Result<_, Status>| result.map_or_else(|status| status.code(), |_| Code::Ok);
    let client = &mut service.client;
    assert_eq!(code(client.create_stream(reserving("a", 1 << 40)).await.map(drop)), Code::ResourceExhausted);
    client.create_stream(reserving("a", 600 << 10)).await.unwrap();
    assert_eq!(
        code(client.create_stream(reserving("b", 600 << 10)).await.map(drop)),
        Code::ResourceExhausted
    );
    client.create_stream(reserving("a", 600 << 10)).await.unwrap();
    client.create_stream(reserving("b", 300 << 10)).await.unwrap();
    let update = |max_bytes| UpdateStreamRequest {
        user_id: user.clone(),
        stream_name: "b".into(),
        config: Some(StreamConfig { max_bytes, ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(code(client.update_stream(update(600 << 10)).await.map(drop)), Code::ResourceExhausted);
    client.update_stream(update(400 << 10)).await.unwrap();
    client.update_stream(update(100 << 10)).await.unwrap();
    let delete = DeleteStreamRequest { user_id: user.clone(), stream_name: "a".into(), ..Default::default() };
    client.delete_stream(delete).await.unwrap();
    client.update_stream(update(900 << 10)).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_exists_can_be_created_again_above_the_quota() {
    let quotas = Quotas::new().stored_bytes(1 << 20);
    let (mut before, user) = (Service::start().await, new_user());
    let mut service = Service::with(|builder| builder.quotas(quotas)).await;
    let reserving = |name: &str, max_bytes: i64| create(&user, StreamConfig { max_bytes, ..named(name) });
    for name in ["a", "b"] {
        before.client.create_stream(reserving(name, 600 << 10)).await.unwrap();
    }
    service.client.create_stream(reserving("a", 600 << 10)).await.unwrap();
    let larger = service.client.create_stream(reserving("a", 700 << 10)).await.unwrap_err();
    assert_eq!(larger.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_tenant_cannot_reserve_the_whole_server_by_default() {
    let (mut service, user) = (Service::start().await, new_user());
    let large = create(&user, StreamConfig { max_bytes: 17 << 30, ..named("a") });
    let status = service.client.create_stream(large).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("17179869184"), "{status:?}");
}

#[tokio::test]
async fn reserved_bytes_have_a_quota_of_their_own() {
    let quotas = Quotas::new().reserved_bytes(1 << 20);
    let (mut service, user) = (Service::with(|builder| builder.quotas(quotas)).await, new_user());
    let reserving = |name: &str, max_bytes: i64| create(&user, StreamConfig { max_bytes, ..named(name) });
    service.client.create_stream(reserving("a", 600 << 10)).await.unwrap();
    let status = service.client.create_stream(reserving("b", 600 << 10)).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "over the limit of 1048576 reserved bytes")
    );
    // Without a limit, only the server's own counts.
    let quotas = Quotas::new().stored_bytes(u64::MAX).reserved_bytes(u64::MAX);
    let mut service = Service::with(|builder| builder.quotas(quotas)).await;
    if let Err(status) = service.client.create_stream(reserving("c", 17 << 30)).await {
        assert!(!status.message().contains("over the limit of"), "{status:?}");
    }
}

#[tokio::test]
async fn headers_count_as_stored_bytes() {
    let quotas = Quotas::new().stored_bytes(10_000);
    let (mut service, user) = (Service::with(|builder| builder.quotas(quotas)).await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let headers = [("a".to_owned(), "x".repeat(6000))];
    let store = PublishToStreamRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        subject: "s.a".into(),
        headers: headers.clone().into(),
        ..Default::default()
    };
    service.client.publish_to_stream(store.clone()).await.unwrap();
    let status = service.client.publish_to_stream(store).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let publish = PublishRequest {
        user_id: user,
        subject: "s.a".into(),
        headers: headers.into(),
        ..Default::default()
    };
    assert_eq!(service.client.publish(publish).await.unwrap_err().code(), Code::ResourceExhausted);
}
