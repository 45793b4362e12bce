//! CreateStream, DeleteStream, GetStreamInfo, ListStreams, UpdateStream and PurgeStream.

use async_nats::jetstream;
use bytes::Bytes;
use narun_grpc::NatsService;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{
    CreateStreamRequest, DeleteStreamRequest, GetStreamInfoRequest, ListStreamsRequest, PublishRequest,
    PublishToStreamRequest, PurgeStreamRequest, StorageType, StreamConfig, UpdateStreamRequest,
};
use narun_grpc::tenancy::Quotas;
use narun_support::Server;
use tonic::Code;

use crate::harness::{GrpcClient, Service, connect, new_user};

pub(crate) fn create(user: &str, config: StreamConfig) -> CreateStreamRequest {
    CreateStreamRequest { user_id: user.to_owned(), config: Some(config), ..Default::default() }
}

pub(crate) fn named(name: &str) -> StreamConfig {
    StreamConfig {
        name: name.to_owned(),
        subjects: vec![format!("{name}.>")],
        storage: StorageType::StorageMemory.into(),
        ..Default::default()
    }
}

fn info(user: &str, name: &str) -> GetStreamInfoRequest {
    GetStreamInfoRequest { user_id: user.to_owned(), stream_name: name.to_owned(), ..Default::default() }
}

pub(crate) async fn publish(client: &GrpcClient, user: &str, subject: &str, data: &str) {
    let request = PublishRequest {
        user_id: user.to_owned(),
        subject: subject.to_owned(),
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..Default::default()
    };
    client.clone().publish(request).await.expect("a message published");
}

/// Publishes to the stream named by the first token of the subject, and waits until it is stored.
pub(crate) async fn store(client: &GrpcClient, user: &str, subject: &str, data: &str) {
    let request = PublishToStreamRequest {
        user_id: user.to_owned(),
        stream_name: subject.split('.').next().unwrap_or_default().to_owned(),
        subject: subject.to_owned(),
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..Default::default()
    };
    client.clone().publish_to_stream(request).await.expect("a message stored");
}

#[tokio::test]
async fn a_stream_is_created_described_updated_purged_and_deleted() {
    let (mut service, user) = (Service::start().await, new_user());
    let config = StreamConfig {
        subjects: vec!["orders.>".into(), "bills".into()],
        max_msgs: 1000,
        max_bytes: 1 << 20,
        max_age: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
        max_msg_size: 5000,
        discard_new_per_subject: true,
        max_msgs_per_subject: 10,
        ..named("orders")
    };
    let made = service.client.create_stream(create(&user, config.clone())).await.unwrap().into_inner();
    assert!(made.success);
    let stream = made.stream.unwrap();
    assert_eq!(stream.name, "orders");
    assert!(stream.created.is_some());
    let expected = StreamConfig { replicas: 1, ..config.clone() };
    assert_eq!(stream.config, Some(expected.clone()));
    // The same again succeeds; another configuration fails.
    let again = service.client.create_stream(create(&user, config.clone())).await.unwrap().into_inner();
    assert!(again.success);
    let other = StreamConfig { max_msgs: 7, ..config };
    let status = service.client.create_stream(create(&user, other)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);

    for number in 0..5 {
        store(&service.client, &user, &format!("orders.{number}"), "x").await;
    }
    let reported = service.client.get_stream_info(info(&user, "orders")).await.unwrap().into_inner();
    let state = reported.stream.unwrap().state.unwrap();
    assert_eq!((state.messages, state.first_seq, state.last_seq, state.num_subjects), (5, 1, 5, 5));
    assert!(state.bytes > 0 && state.first_ts.is_some() && state.last_ts.is_some());

    let update = UpdateStreamRequest {
        user_id: user.clone(),
        stream_name: "orders".into(),
        config: Some(StreamConfig { max_msgs: -1, max_bytes: 1 << 21, ..Default::default() }),
        ..Default::default()
    };
    let updated = service.client.update_stream(update).await.unwrap().into_inner().stream.unwrap();
    let expected = StreamConfig { max_msgs: -1, max_bytes: 1 << 21, ..expected };
    assert_eq!(updated.config, Some(expected));

    let purge = |subject: &str| PurgeStreamRequest {
        user_id: user.clone(),
        stream_name: "orders".into(),
        subject: subject.into(),
        ..Default::default()
    };
    let mut client = service.client.clone();
    assert_eq!(client.purge_stream(purge("orders.3")).await.unwrap().into_inner().purged_count, 1);
    assert_eq!(client.purge_stream(purge("other")).await.unwrap().into_inner().purged_count, 0);
    assert_eq!(client.purge_stream(purge("")).await.unwrap().into_inner().purged_count, 4);

    let delete =
        DeleteStreamRequest { user_id: user.clone(), stream_name: "orders".into(), ..Default::default() };
    assert!(client.delete_stream(delete.clone()).await.unwrap().into_inner().success);
    assert!(!client.delete_stream(delete).await.unwrap().into_inner().success);
    assert_eq!(client.get_stream_info(info(&user, "orders")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn unset_limits_mean_no_limit() {
    let (mut service, user) = (Service::start().await, new_user());
    for (name, limit) in [("zero", 0), ("minus", -1), ("less", -100)] {
        let config = StreamConfig {
            subjects: Vec::new(),
            max_msgs: limit,
            max_bytes: limit.into(),
            max_msg_size: limit,
            ..named(name)
        };
        let made = service.client.create_stream(create(&user, config)).await.unwrap().into_inner();
        let config = made.stream.unwrap().config.unwrap();
        assert_eq!((config.max_msgs, config.max_bytes, config.max_msg_size), (-1, -1, -1), "{name}");
        assert_eq!((config.replicas, config.max_age), (1, None));
        assert_eq!(config.subjects, [name]);
    }
}

#[tokio::test]
async fn tenants_with_streams_of_the_same_name_see_their_own_only() {
    let mut service = Service::start().await;
    let (one, other) = (new_user(), new_user());
    service.client.create_stream(create(&one, named("same"))).await.unwrap();
    service.client.create_stream(create(&other, named("same"))).await.unwrap();
    store(&service.client, &one, "same.a", "x").await;
    let list = |user: &str| ListStreamsRequest { user_id: user.to_owned(), ..Default::default() };
    for (user, messages) in [(&one, 1), (&other, 0)] {
        let streams = service.client.list_streams(list(user)).await.unwrap().into_inner().streams;
        let [stream] = streams.as_slice() else { panic!("{streams:?}") };
        assert_eq!((stream.name.as_str(), stream.state.as_ref().unwrap().messages), ("same", messages));
    }
    assert!(service.client.list_streams(list(&new_user())).await.unwrap().into_inner().streams.is_empty());

    // With the tenant's name, but created by another client of the account.
    let context = jetstream::new(connect().await);
    let foreign = jetstream::stream::Config {
        name: format!("user-{one}-foreign"),
        subjects: vec![format!("user.{one}.foreign")],
        storage: jetstream::stream::StorageType::Memory,
        ..Default::default()
    };
    context.create_stream(foreign).await.unwrap();
    let status = service.client.get_stream_info(info(&one, "foreign")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(service.client.list_streams(list(&one)).await.unwrap().into_inner().streams.len(), 1);
    let delete = DeleteStreamRequest { user_id: one, stream_name: "foreign".into(), ..Default::default() };
    assert!(!service.client.delete_stream(delete).await.unwrap().into_inner().success);
}

#[tokio::test]
async fn streams_are_listed_beyond_one_page() {
    let server = Server::builder().jetstream(true).start().expect("a nats-server");
    let nats = async_nats::connect(server.url()).await.unwrap();
    let mut service =
        Service::serve(NatsService::builder(nats).authenticator(TrustRequest::new()).build()).await;
    let made = (0..300).map(|number| {
        let mut client = service.client.clone();
        let name = format!("s{number:03}");
        async move { client.create_stream(create("u", named(&name))).await.map(drop) }
    });
    for result in futures::future::join_all(made).await {
        result.unwrap();
    }
    let request = ListStreamsRequest { user_id: "u".into(), ..Default::default() };
    let streams = service.client.list_streams(request).await.unwrap().into_inner().streams;
    let names: Vec<_> = streams.iter().map(|stream| stream.name.clone()).collect();
    assert_eq!(names, (0..300).map(|number| format!("s{number:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn invalid_streams_are_refused() {
    let (mut service, user) = (Service::start().await, new_user());
    let missing = CreateStreamRequest { user_id: user.clone(), ..Default::default() };
    assert_eq!(service.client.create_stream(missing).await.unwrap_err().code(), Code::InvalidArgument);
    for config in [
        named(""),
        named("a.b"),
        named("a b"),
        named("*"),
        named(&"x".repeat(256)),
        StreamConfig { subjects: vec!["a..b".into()], ..named("a") },
        StreamConfig { subjects: vec![String::new()], ..named("a") },
        StreamConfig { storage: 7, ..named("a") },
        StreamConfig { replicas: -1, ..named("a") },
        StreamConfig { replicas: i32::MAX, ..named("a") },
        StreamConfig { discard_new_per_subject: true, ..named("a") },
        StreamConfig { max_age: Some(prost_types::Duration { seconds: -5, nanos: 0 }), ..named("a") },
        StreamConfig { max_age: Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 }), ..named("a") },
        StreamConfig { max_age: Some(prost_types::Duration { seconds: i64::MIN, nanos: 0 }), ..named("a") },
    ] {
        let shown = format!("{config:.100?}");
        let status = service.client.create_stream(create(&user, config)).await.expect_err(&shown);
        assert_eq!(status.code(), Code::InvalidArgument, "{shown}");
    }
    service.client.create_stream(create(&user, named("a"))).await.unwrap();
    let overlapping = StreamConfig { subjects: vec!["a.b".into()], ..named("b") };
    let status = service.client.create_stream(create(&user, overlapping)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn streams_have_a_quota() {
    let mut service = Service::with(|builder| builder.quotas(Quotas::new().streams(1))).await;
    let user = new_user();
    service.client.create_stream(create(&user, named("a"))).await.unwrap();
    service.client.create_stream(create(&user, named("a"))).await.unwrap();
    let status = service.client.create_stream(create(&user, named("b"))).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    service.client.create_stream(create(&new_user(), named("b"))).await.unwrap();
}

#[tokio::test]
async fn streams_are_unavailable_without_jetstream() {
    let server = Server::start().expect("a nats-server");
    let nats = async_nats::connect(server.url()).await.unwrap();
    let mut service =
        Service::serve(NatsService::builder(nats).authenticator(TrustRequest::new()).build()).await;
    let status = service.client.create_stream(create("u", named("a"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}
