//! ConsumeMessages.

use std::collections::{BTreeMap, HashSet};

use async_nats::ConnectOptions;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use narun_grpc::NatsService;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{
    AckPolicy, ConsumeMessagesRequest, ConsumerConfig, DeleteConsumerRequest, DeleteStreamRequest,
    JetStreamMessage, PublishToStreamRequest, StreamConfig,
};
use narun_grpc::tenancy::Quotas;
use narun_support::Server;
use tonic::{Code, Request, Status, Streaming};

use crate::consumers::{consumer, durable};
use crate::harness::{GrpcClient, Service, connect, eventually, new_user, settle, soon};
use crate::messages::{ack, floor, nak, prepared, pulled, seconds, store};
use crate::restarts::{serve, signal};
use crate::streams::{create, named};

fn request(user: &str, max_in_flight: i32) -> ConsumeMessagesRequest {
    ConsumeMessagesRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        max_in_flight,
        ..Default::default()
    }
}

async fn consume(client: &GrpcClient, user: &str, max_in_flight: i32) -> Streaming<JetStreamMessage> {
    let opened = client.clone().consume_messages(request(user, max_in_flight)).await;
    opened.expect("a stream").into_inner()
}

async fn next(messages: &mut Streaming<JetStreamMessage>) -> JetStreamMessage {
    soon("a message", messages.message()).await.expect("no error").expect("no end")
}

async fn end(messages: &mut Streaming<JetStreamMessage>) -> Status {
    loop {
        match soon("the end", messages.message()).await {
            Ok(message) => assert!(message.is_some(), "an end without a status"),
            Err(status) => return status,
        }
    }
}

async fn delete_consumer(client: &GrpcClient, user: &str) {
    let delete = DeleteConsumerRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        ..Default::default()
    };
    assert!(client.clone().delete_consumer(delete).await.unwrap().into_inner().success);
}

#[tokio::test]
async fn messages_come_as_they_are_stored_and_are_acknowledged_one_by_one() {
    let (here, user) = prepared(AckPolicy::AckExplicit).await;
    let there = Service::start().await;
    for _ in 0..2 {
        store(&here.client, &user, "before").await;
    }
    let mut messages = consume(&here.client, &user, 0).await;
    for sequence in 1..=4 {
        if sequence > 2 {
            store(&here.client, &user, "after").await;
        }
        let message = next(&mut messages).await;
        assert_eq!((message.sequence, message.num_delivered), (sequence, 1));
        assert_eq!(message.subject, "s.a");
        assert_eq!(message.data, if sequence > 2 { "after" } else { "before" });
        assert_eq!(message.headers.get("A").map(String::as_str), Some("b"));
        assert!(message.timestamp.is_some());
        // By token, by sequence where it was delivered, and by sequence elsewhere.
        let acked = match sequence {
            1 | 2 => ack(&here.client, &user, 0, &message.ack_token).await,
            3 => ack(&here.client, &user, sequence, "").await,
            _ => ack(&there.client, &user, sequence, "").await,
        };
        assert_eq!(acked, Ok(true), "{sequence}");
    }
    assert_eq!(floor(&here.client, &user).await, 4);
    // No message comes, and the response stream is open.
    assert!(messages.message().now_or_never().is_none());
    store(&here.client, &user, "last").await;
    assert_eq!(next(&mut messages).await.sequence, 5);
}

#[tokio::test]
async fn unacknowledged_messages_are_redelivered() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let config = ConsumerConfig { ack_wait: seconds(1), ..durable("c") };
    service.client.create_consumer(consumer(&user, config)).await.unwrap();
    for _ in 0..2 {
        store(&service.client, &user, "x").await;
    }
    let mut messages = consume(&service.client, &user, 0).await;
    let (first, second) = (next(&mut messages).await, next(&mut messages).await);
    assert_eq!(nak(&service.client, &user, 0, &second.ack_token).await, Ok(true));
    let mut again = BTreeMap::new();
    while again.len() < 2 {
        let message = next(&mut messages).await;
        assert!(message.num_delivered > 1, "{message:?}");
        again.insert(message.sequence, message.ack_token);
    }
    assert_eq!(ack(&service.client, &user, 0, &first.ack_token).await, Ok(true));
    assert_eq!(ack(&service.client, &user, 0, &again[&2]).await, Ok(true));
    assert_eq!(floor(&service.client, &user).await, 2);
}

#[tokio::test]
async fn no_more_is_pulled_than_there_is_room_for() {
    let (service, user) = prepared(AckPolicy::AckExplicit).await;
    for _ in 0..20 {
        store(&service.client, &user, "x").await;
    }
    let nats = connect().await;
    let mut asked = nats.subscribe(format!("$JS.API.CONSUMER.MSG.NEXT.user-{user}-s.c")).await.unwrap();
    settle(&nats).await;
    for (max_in_flight, batch) in [(7, 7), (0, 100), (-1, 100), (i32::MAX, 1000)] {
        let mut messages = consume(&service.client, &user, max_in_flight).await;
        // The messages of the client before were given back when it left.
        for _ in 0..batch.min(20) {
            next(&mut messages).await;
        }
        let pull = soon("a pull", asked.next()).await.expect("a pull");
        let pull = std::str::from_utf8(&pull.payload).unwrap().to_owned();
        assert!(pull.contains(&format!("\"batch\":{batch},")), "{pull}");
        settle(&nats).await;
        assert!(asked.next().now_or_never().is_none(), "{max_in_flight}");
    }
}

#[tokio::test]
async fn max_in_flight_limits_unacknowledged_messages() {
    let (mut service, user) = (Service::start().await, new_user());
    let there = Service::start().await;
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let config = ConsumerConfig { ack_wait: seconds(3600), ..durable("c") };
    service.client.create_consumer(consumer(&user, config)).await.unwrap();
    for _ in 0..7 {
        store(&service.client, &user, "x").await;
    }
    let mut messages = consume(&service.client, &user, 2).await;
    let (first, second) = (next(&mut messages).await, next(&mut messages).await);
    let full = async |messages: &mut Streaming<JetStreamMessage>| {
        // During a round trip to JetStream, another message would have come.
        floor(&service.client, &user).await;
        assert!(messages.message().now_or_never().is_none());
    };
    full(&mut messages).await;
    // Acknowledged here and at another replica, by a NATS client, and given back.
    assert_eq!(ack(&service.client, &user, 0, &first.ack_token).await, Ok(true));
    let third = next(&mut messages).await;
    assert_eq!(third.sequence, 3);
    full(&mut messages).await;
    assert_eq!(ack(&there.client, &user, second.sequence, "").await, Ok(true));
    assert_eq!(next(&mut messages).await.sequence, 4);
    full(&mut messages).await;
    let nats = connect().await;
    let acked = nats.request(format!("$JS.ACK.user-{user}-s.c.1.4.4.0.0"), "+ACK".into()).await;
    acked.expect("an acknowledgement");
    assert_eq!(next(&mut messages).await.sequence, 5);
    full(&mut messages).await;
    assert_eq!(nak(&service.client, &user, 0, &third.ack_token).await, Ok(true));
    let again = next(&mut messages).await;
    assert_eq!((again.sequence, again.num_delivered), (3, 2));
    full(&mut messages).await;
    // What is not acknowledged is given back at once.
    drop(messages);
    let mut left = HashSet::new();
    eventually("all of them", async || {
        let pulled = pulled(&there.client, &user, 10).await;
        left.extend(pulled.into_iter().map(|message| message.sequence));
        left.len() == 4
    })
    .await;
    assert_eq!(left, HashSet::from([3, 5, 6, 7]));
}

#[tokio::test]
async fn places_are_freed_without_permission_to_see_acknowledgements() {
    let config = "authorization { users: [
        { user: a, password: a, permissions: { subscribe: { deny: [\"$JS.ACK.>\"] } } }
        { user: b, password: b } ] }";
    let server = Server::builder().jetstream(true).config(config).start().expect("a nats-server");
    let serve = async |user: &str| {
        let options = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned());
        let nats = options.connect(server.url()).await.expect("a connection");
        Service::serve(NatsService::builder(nats).authenticator(TrustRequest::new()).build()).await
    };
    let (here, there) = (serve("a").await, serve("b").await);
    let mut client = here.client.clone();
    client.create_stream(create("u", named("s"))).await.unwrap();
    let config = ConsumerConfig { ack_wait: seconds(3600), ..durable("c") };
    client.create_consumer(consumer("u", config)).await.unwrap();
    for _ in 0..4 {
        store(&client, "u", "x").await;
    }
    let mut messages = consume(&client, "u", 2).await;
    next(&mut messages).await;
    assert_eq!(next(&mut messages).await.sequence, 2);
    // Not the first, so that the ack floor stays.
    assert_eq!(ack(&client, "u", 2, "").await, Ok(true));
    assert_eq!(next(&mut messages).await.sequence, 3);
    assert_eq!(ack(&there.client, "u", 3, "").await, Ok(true));
    assert_eq!(next(&mut messages).await.sequence, 4);
}

#[tokio::test]
async fn with_ack_all_the_messages_before_are_acknowledged_too() {
    let (service, user) = prepared(AckPolicy::AckAll).await;
    for _ in 0..4 {
        store(&service.client, &user, "x").await;
    }
    let mut messages = consume(&service.client, &user, 2).await;
    next(&mut messages).await;
    let second = next(&mut messages).await;
    assert_eq!(ack(&service.client, &user, 0, &second.ack_token).await, Ok(true));
    assert_eq!(next(&mut messages).await.sequence, 3);
    assert_eq!(next(&mut messages).await.sequence, 4);
}

#[tokio::test]
async fn max_ack_pending_limits_unacknowledged_messages() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let config = ConsumerConfig { max_ack_pending: 2, ..durable("c") };
    service.client.create_consumer(consumer(&user, config)).await.unwrap();
    for _ in 0..4 {
        store(&service.client, &user, "x").await;
    }
    let mut messages = consume(&service.client, &user, 0).await;
    let (first, second) = (next(&mut messages).await, next(&mut messages).await);
    // During a round trip to JetStream, a third message would have come.
    assert_eq!(floor(&service.client, &user).await, 0);
    assert!(messages.message().now_or_never().is_none());
    assert_eq!(ack(&service.client, &user, 0, &second.ack_token).await, Ok(true));
    assert_eq!(next(&mut messages).await.sequence, 3);
    assert_eq!(ack(&service.client, &user, 0, &first.ack_token).await, Ok(true));
    assert_eq!(next(&mut messages).await.sequence, 4);
}

/// Stores more messages than fit on the way to a client.
async fn store_much(client: &GrpcClient, user: &str) {
    for number in 0_u8..100 {
        let publish = PublishToStreamRequest {
            user_id: user.to_owned(),
            stream_name: "s".into(),
            subject: "s.a".into(),
            data: vec![number; 100_000].into(),
            ..Default::default()
        };
        client.clone().publish_to_stream(publish).await.unwrap();
    }
}

#[tokio::test]
async fn a_slow_reader_loses_nothing() {
    let (service, user) = prepared(AckPolicy::AckNone).await;
    let mut messages = consume(&service.client, &user, 10).await;
    store_much(&service.client, &user).await;
    for number in 0_u8..100 {
        let message = next(&mut messages).await;
        assert_eq!((message.sequence, message.data[0]), (i64::from(number) + 1, number));
    }
}

#[tokio::test]
async fn messages_not_sent_to_a_client_that_leaves_are_given_back_at_once() {
    let (service, user) = (Service::start().await, new_user());
    let mut client = service.client.clone();
    client.create_stream(create(&user, named("s"))).await.unwrap();
    let config = ConsumerConfig { ack_wait: seconds(3600), ..durable("c") };
    client.create_consumer(consumer(&user, config)).await.unwrap();
    store_much(&client, &user).await;
    let mut messages = consume(&client, &user, 60).await;
    // All messages that fit have come or are on their way.
    next(&mut messages).await;
    let there = Service::start().await;
    drop(messages);
    // The last ones cannot fit on the way to the client.
    let mut again = HashSet::new();
    eventually("what is given back", async || {
        for message in pulled(&there.client, &user, 20).await {
            if message.num_delivered > 1 {
                again.insert(message.sequence);
            }
        }
        again.contains(&60)
    })
    .await;
}

#[tokio::test]
async fn a_large_message_comes_by_itself_and_one_that_is_too_large_is_refused() {
    let (storing, user) = prepared(AckPolicy::AckExplicit).await;
    for size in [100, 50_000, 100] {
        let publish = PublishToStreamRequest {
            user_id: user.clone(),
            stream_name: "s".into(),
            subject: "s.a".into(),
            data: vec![0; size].into(),
            ..Default::default()
        };
        storing.client.clone().publish_to_stream(publish).await.unwrap();
    }
    let small = Service::with(|builder| builder.response_limit(20_000)).await;
    let mut messages = consume(&small.client, &user, 0).await;
    assert_eq!(next(&mut messages).await.data.len(), 100);
    assert_eq!(ack(&storing.client, &user, 1, "").await, Ok(true));
    assert_eq!(end(&mut messages).await.code(), Code::ResourceExhausted);
    // As large as a response almost, so that no other fits beside it.
    let service = Service::with(|builder| builder.response_limit(52_000)).await;
    let pulled = pulled(&service.client, &user, 10).await;
    assert_eq!(pulled[0].data.len(), 50_000);
    assert_eq!(nak(&service.client, &user, 2, &pulled[0].ack_token).await, Ok(true));
    let mut messages = consume(&service.client, &user, 0).await;
    assert_eq!(next(&mut messages).await.data.len(), 50_000);
    drop(messages);
    let service = Service::with(|builder| builder.subscriber_queue(10, 10_000)).await;
    let mut messages = consume(&service.client, &user, 0).await;
    // The client before may have given back both.
    let mut sizes = BTreeMap::new();
    while sizes.len() < 2 {
        let message = next(&mut messages).await;
        sizes.insert(message.sequence, message.data.len());
    }
    assert_eq!(sizes, BTreeMap::from([(2, 50_000), (3, 100)]));
}

#[tokio::test]
async fn deleting_the_consumer_or_stream_ends_it() {
    let (service, user) = prepared(AckPolicy::AckExplicit).await;
    let mut client = service.client.clone();
    let mut messages = consume(&client, &user, 0).await;
    delete_consumer(&client, &user).await;
    assert_eq!(end(&mut messages).await.code(), Code::NotFound);
    let status = client.consume_messages(request(&user, 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    // A stream, with messages that the client has not read.
    client.create_consumer(consumer(&user, durable("c"))).await.unwrap();
    store(&client, &user, "x").await;
    let mut messages = consume(&client, &user, 0).await;
    next(&mut messages).await;
    let delete = DeleteStreamRequest { user_id: user.clone(), stream_name: "s".into(), ..Default::default() };
    client.delete_stream(delete).await.unwrap();
    assert_eq!(end(&mut messages).await.code(), Code::NotFound);
    let status = client.consume_messages(request(&user, 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn invalid_names_and_names_of_others_are_refused() {
    let (mut service, user) = prepared(AckPolicy::AckExplicit).await;
    for (stream, consumer, code) in [
        ("", "c", Code::InvalidArgument),
        ("s.x", "c", Code::InvalidArgument),
        ("s", "", Code::InvalidArgument),
        ("s", "c.>", Code::InvalidArgument),
        ("none", "c", Code::NotFound),
        ("s", "none", Code::NotFound),
    ] {
        let (stream_name, consumer_name) = (stream.to_owned(), consumer.to_owned());
        let request = ConsumeMessagesRequest { stream_name, consumer_name, ..request(&user, 0) };
        let status = service.client.consume_messages(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{stream:?} {consumer:?}");
    }
    let status = service.client.consume_messages(request(&new_user(), 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn it_is_counted_and_ends_with_its_client_its_deadline_and_the_service() {
    let (storing, user) = prepared(AckPolicy::AckExplicit).await;
    let service = Service::with(|builder| builder.quotas(Quotas::new().subscriptions(1))).await;
    let mut client = service.client.clone();
    let messages = consume(&client, &user, 0).await;
    let status = client.consume_messages(request(&user, 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(messages);
    let again = async || client.clone().consume_messages(request(&user, 0)).await;
    eventually("a place", async || again().await.is_ok()).await;

    let mut hasty = Request::new(request(&user, 0));
    hasty.set_timeout(std::time::Duration::from_millis(300));
    let mut messages = storing.client.clone().consume_messages(hasty).await.unwrap().into_inner();
    let status = end(&mut messages).await;
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");

    eventually("a place", async || {
        let Ok(messages) = again().await else { return false };
        let mut messages = messages.into_inner();
        service.service.end_subscriptions();
        assert_eq!(end(&mut messages).await.code(), Code::Unavailable);
        true
    })
    .await;
    let status = client.consume_messages(request(&user, 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    // No message is held back after that.
    store(&storing.client, &user, "x").await;
    assert_eq!(pulled(&storing.client, &user, 1).await[0].num_delivered, 1);
}

#[tokio::test]
async fn it_resumes_after_the_server_died() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    let mut client = service.client.clone();
    // On disk, to outlive the server.
    let config = StreamConfig { storage: 0, ..named("s") };
    client.create_stream(create("u", config)).await.unwrap();
    client.create_consumer(consumer("u", durable("c"))).await.unwrap();
    let mut messages = consume(&client, "u", 0).await;
    for number in 0..2 {
        let mut sequence = 0;
        eventually("a message stored", async || {
            let publish = PublishToStreamRequest {
                user_id: "u".into(),
                stream_name: "s".into(),
                subject: "s.a".into(),
                data: Bytes::from(number.to_string()),
                ..Default::default()
            };
            let stored = client.clone().publish_to_stream(publish).await;
            sequence = stored.map_or(0, |stored| stored.into_inner().sequence);
            sequence > 0
        })
        .await;
        while next(&mut messages).await.sequence != sequence {}
        eventually("an acknowledgement", async || ack(&client, "u", sequence, "").await == Ok(true)).await;
        server.kill().unwrap();
        server.restart().unwrap();
    }
}

#[tokio::test]
async fn an_acknowledgement_that_is_not_confirmed_fails_if_the_message_is_pending() {
    let config = "authorization { users: [
        { user: a, password: a, permissions: { publish: { deny: [\"$JS.ACK.>\"] } } } ] }";
    let server = Server::builder().jetstream(true).config(config).start().expect("a nats-server");
    let options = ConnectOptions::with_user_and_password("a".to_owned(), "a".to_owned());
    let nats = options.connect(server.url()).await.expect("a connection");
    let service = Service::serve(NatsService::builder(nats).authenticator(TrustRequest::new()).build()).await;
    let mut client = service.client.clone();
    client.create_stream(create("u", named("s"))).await.unwrap();
    client.create_consumer(consumer("u", durable("c"))).await.unwrap();
    store(&client, "u", "x").await;
    let mut messages = consume(&client, "u", 0).await;
    let message = next(&mut messages).await;
    assert_eq!(ack(&client, "u", 0, &message.ack_token).await, Err(Code::Unavailable));
    assert_eq!(nak(&client, "u", 0, &message.ack_token).await, Err(Code::Unavailable));
    // And if JetStream does not respond at all.
    signal(&server, rustix::process::Signal::STOP);
    let failure = ack(&client, "u", 0, &message.ack_token).await;
    signal(&server, rustix::process::Signal::CONT);
    assert_eq!(failure, Err(Code::Unavailable));
}

#[tokio::test]
async fn a_client_that_leaves_after_the_server_died_holds_no_message_back() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    let mut client = service.client.clone();
    client.create_stream(create("u", StreamConfig { storage: 0, ..named("s") })).await.unwrap();
    let config = ConsumerConfig { ack_wait: seconds(3600), ..durable("c") };
    client.create_consumer(consumer("u", config)).await.unwrap();
    // The inbox of a pull is not reused on another connection.
    assert!(pulled(&client, "u", 1).await.is_empty());
    server.kill().unwrap();
    server.restart().unwrap();
    for _ in 0..2 {
        let mut messages = None;
        eventually("a stream", async || {
            messages = client.clone().consume_messages(request("u", 0)).await.ok();
            messages.is_some()
        })
        .await;
        // After the first message, it waits for the next.
        let mut messages = messages.unwrap().into_inner();
        store(&client, "u", "x").await;
        next(&mut messages).await;
        drop(messages);
        store(&client, "u", "x").await;
        let mut again = Vec::new();
        eventually("what is stored then", async || {
            again.extend(pulled(&client, "u", 1).await);
            !again.is_empty()
        })
        .await;
    }
}
