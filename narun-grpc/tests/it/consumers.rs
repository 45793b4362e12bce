//! CreateConsumer, DeleteConsumer, GetConsumerInfo and ListConsumers.

use narun_grpc::pb::{
    AckPolicy, ConsumerConfig, CreateConsumerRequest, DeleteConsumerRequest, DeliveryPolicy,
    GetConsumerInfoRequest, ListConsumersRequest, ReplayPolicy,
};
use narun_grpc::tenancy::Quotas;
use tonic::Code;

use crate::harness::{Service, new_user};
use crate::streams::{create, named, store};

pub(crate) fn consumer(user: &str, config: ConsumerConfig) -> CreateConsumerRequest {
    CreateConsumerRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        config: Some(config),
        ..Default::default()
    }
}

pub(crate) fn durable(name: &str) -> ConsumerConfig {
    ConsumerConfig { durable_name: name.to_owned(), ..Default::default() }
}

fn info(user: &str, name: &str) -> GetConsumerInfoRequest {
    GetConsumerInfoRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        consumer_name: name.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn every_policy_is_kept() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    for subject in ["s.a", "s.b", "s.a"] {
        store(&service.client, &user, subject, "x").await;
    }
    let start = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let policies = [
        (DeliveryPolicy::DeliveryAll, 3),
        (DeliveryPolicy::DeliveryLast, 1),
        (DeliveryPolicy::DeliveryNew, 0),
        (DeliveryPolicy::DeliveryByStartSequence, 2),
        (DeliveryPolicy::DeliveryByStartTime, 3),
        (DeliveryPolicy::DeliveryLastPerSubject, 2),
    ];
    for (number, (policy, pending)) in policies.into_iter().enumerate() {
        let by_sequence = policy == DeliveryPolicy::DeliveryByStartSequence;
        let by_time = policy == DeliveryPolicy::DeliveryByStartTime;
        let config = ConsumerConfig {
            delivery_policy: policy.into(),
            ack_policy: [AckPolicy::AckExplicit, AckPolicy::AckAll, AckPolicy::AckNone][number % 3].into(),
            replay_policy: [ReplayPolicy::ReplayInstant, ReplayPolicy::ReplayOriginal][number % 2].into(),
            opt_start_seq: if by_sequence { 2 } else { 0 },
            opt_start_time: by_time.then_some(start),
            // Last per subject needs a filter.
            filter_subject: "s.*".into(),
            ack_wait: Some(prost_types::Duration { seconds: 7, nanos: 0 }),
            max_deliver: 5,
            max_ack_pending: if number % 3 == 2 { 0 } else { 11 },
            ..durable(&format!("c{number}"))
        };
        let made = service.client.create_consumer(consumer(&user, config.clone())).await.unwrap();
        let made = made.into_inner().consumer.unwrap();
        let named = ConsumerConfig { name: config.durable_name.clone(), ..config };
        let mut reported = made.config.clone().unwrap();
        // Without acknowledgements there is no ack_wait and no limit.
        if reported.ack_policy() == AckPolicy::AckNone {
            (reported.ack_wait, reported.max_deliver) = (named.ack_wait, named.max_deliver);
            reported.max_ack_pending = 0;
        }
        assert_eq!(reported, named);
        assert_eq!((made.stream_name.as_str(), made.name.as_str()), ("s", named.name.as_str()));
        assert_eq!(made.state.unwrap().num_pending, pending, "{policy:?}");
        let reported = service.client.get_consumer_info(info(&user, &named.name)).await.unwrap().into_inner();
        assert_eq!(reported.consumer.unwrap().config, made.config);
    }
    let list = ListConsumersRequest { user_id: user.clone(), stream_name: "s".into(), ..Default::default() };
    let consumers = service.client.list_consumers(list).await.unwrap().into_inner().consumers;
    let names: Vec<_> = consumers.iter().map(|consumer| consumer.name.as_str()).collect();
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4", "c5"]);
}

#[tokio::test]
async fn an_impossible_change_is_refused() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let config = ConsumerConfig { max_deliver: 3, ..durable("c") };
    service.client.create_consumer(consumer(&user, config.clone())).await.unwrap();
    // The same again, and with a possible change.
    for max_deliver in [3, 4] {
        let config = ConsumerConfig { max_deliver, ..config.clone() };
        let response = service.client.create_consumer(consumer(&user, config)).await.unwrap().into_inner();
        assert_eq!(response.consumer.unwrap().config.unwrap().max_deliver, max_deliver);
    }
    for config in [
        ConsumerConfig { delivery_policy: DeliveryPolicy::DeliveryNew.into(), ..config.clone() },
        ConsumerConfig { ack_policy: AckPolicy::AckAll.into(), ..config.clone() },
        ConsumerConfig { replay_policy: ReplayPolicy::ReplayOriginal.into(), ..config.clone() },
    ] {
        let status = service.client.create_consumer(consumer(&user, config)).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    }
}

#[tokio::test]
async fn a_consumer_is_deleted_once() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let by_name = ConsumerConfig { name: "c".into(), ..Default::default() };
    service.client.create_consumer(consumer(&user, by_name)).await.unwrap();
    let delete = |name: &str| DeleteConsumerRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        consumer_name: name.into(),
        ..Default::default()
    };
    assert!(service.client.delete_consumer(delete("c")).await.unwrap().into_inner().success);
    assert!(!service.client.delete_consumer(delete("c")).await.unwrap().into_inner().success);
    let status = service.client.get_consumer_info(info(&user, "c")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let status = service.client.get_consumer_info(info(&new_user(), "c")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn invalid_consumers_are_refused() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let missing =
        CreateConsumerRequest { user_id: user.clone(), stream_name: "s".into(), ..Default::default() };
    assert_eq!(service.client.create_consumer(missing).await.unwrap_err().code(), Code::InvalidArgument);
    let at = |seconds: i64| ConsumerConfig {
        delivery_policy: DeliveryPolicy::DeliveryByStartTime.into(),
        opt_start_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        ..durable("c")
    };
    for config in [
        durable(""),
        durable("a.b"),
        durable("a b"),
        durable(">"),
        durable(&"x".repeat(256)),
        ConsumerConfig { name: "other".into(), ..durable("c") },
        ConsumerConfig { filter_subject: "a..b".into(), ..durable("c") },
        ConsumerConfig { delivery_policy: 9, ..durable("c") },
        ConsumerConfig { ack_policy: -1, ..durable("c") },
        ConsumerConfig { replay_policy: 2, ..durable("c") },
        ConsumerConfig { delivery_policy: DeliveryPolicy::DeliveryByStartSequence.into(), ..durable("c") },
        ConsumerConfig { delivery_policy: DeliveryPolicy::DeliveryByStartTime.into(), ..durable("c") },
        ConsumerConfig { ack_wait: Some(prost_types::Duration { seconds: -1, nanos: 0 }), ..durable("c") },
        ConsumerConfig {
            ack_wait: Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 }),
            ..durable("c")
        },
        ConsumerConfig {
            ack_wait: Some(prost_types::Duration { seconds: i64::MIN, nanos: 0 }),
            ..durable("c")
        },
        at(i64::MAX),
        at(i64::MIN),
        at(300_000_000_000),
    ] {
        let shown = format!("{config:.150?}");
        let status = service.client.create_consumer(consumer(&user, config)).await.expect_err(&shown);
        assert_eq!(status.code(), Code::InvalidArgument, "{shown}");
    }
    let status = service.client.create_consumer(consumer(&new_user(), durable("c"))).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn consumers_are_listed_beyond_one_page() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let made = (0..300).map(|number| {
        let mut client = service.client.clone();
        let request = consumer(&user, durable(&format!("c{number:03}")));
        async move { client.create_consumer(request).await.map(drop) }
    });
    for result in futures::future::join_all(made).await {
        result.unwrap();
    }
    let list = ListConsumersRequest { user_id: user.clone(), stream_name: "s".into(), ..Default::default() };
    let consumers = service.client.list_consumers(list).await.unwrap().into_inner().consumers;
    let names: Vec<_> = consumers.into_iter().map(|consumer| consumer.name).collect();
    assert_eq!(names, (0..300).map(|number| format!("c{number:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn consumers_have_a_quota() {
    let mut service = Service::with(|builder| builder.quotas(Quotas::new().consumers(1))).await;
    let user = new_user();
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    service.client.create_consumer(consumer(&user, durable("a"))).await.unwrap();
    service.client.create_consumer(consumer(&user, durable("a"))).await.unwrap();
    let status = service.client.create_consumer(consumer(&user, durable("b"))).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}
