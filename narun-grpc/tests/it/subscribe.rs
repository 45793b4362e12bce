//! Subscribe, QueueSubscribe and Unsubscribe.

use std::collections::HashSet;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use narun_grpc::NatsService;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{
    MessageResponse, PublishRequest, QueueSubscribeRequest, SubscribeRequest, UnsubscribeRequest,
};
use narun_grpc::tenancy::Quotas;
use tonic::{Code, Streaming};

use crate::harness::{GrpcClient, Service, channel, connect, eventually, new_user, settle, soon};
use crate::streams::{create, named};

async fn subscribe(client: &GrpcClient, user: &str, subject: &str) -> Streaming<MessageResponse> {
    let request =
        SubscribeRequest { user_id: user.to_owned(), subject: subject.to_owned(), ..Default::default() };
    client.clone().subscribe(request).await.expect("a subscription").into_inner()
}

async fn join(client: &GrpcClient, user: &str, subject: &str) -> Streaming<MessageResponse> {
    let request = QueueSubscribeRequest {
        user_id: user.to_owned(),
        subject: subject.to_owned(),
        queue_group: "group".to_owned(),
        ..Default::default()
    };
    client.clone().queue_subscribe(request).await.expect("a subscription").into_inner()
}

async fn publish(client: &GrpcClient, user: &str, subject: &str, data: impl Into<Bytes>) {
    let request = PublishRequest {
        user_id: user.to_owned(),
        subject: subject.to_owned(),
        data: data.into(),
        ..Default::default()
    };
    client.clone().publish(request).await.expect("a message published");
}

async fn next(stream: &mut Streaming<MessageResponse>) -> MessageResponse {
    soon("a message", stream.message()).await.expect("no error").expect("no end")
}

/// Whether the server has a subscription to this subject.
async fn interested(nats: &async_nats::Client, subject: &str) -> bool {
    nats.request(subject.to_owned(), Bytes::new())
        .await
        .is_err_and(|error| error.kind() != async_nats::RequestErrorKind::NoResponders)
}

#[tokio::test]
async fn messages_come_with_the_callers_own_names() {
    let (service, user) = (Service::start().await, new_user());
    let mut stream = subscribe(&service.client, &user, "orders.*.>").await;
    let request = PublishRequest {
        user_id: user.clone(),
        subject: "orders.eu.new".into(),
        data: Bytes::from_static(b"1"),
        headers: [("A".to_owned(), "b".to_owned())].into(),
        reply_to: "back".into(),
        ..Default::default()
    };
    service.client.clone().publish(request).await.unwrap();
    let message = next(&mut stream).await;
    assert_eq!((message.subject.as_str(), message.reply_to.as_str()), ("orders.eu.new", "back"));
    assert_eq!(message.headers.get("A").map(String::as_str), Some("b"));
    assert_eq!(message.sequence, 1);
    assert!(message.timestamp.is_some());

    // From another client of the account, with a reply subject outside the tenant's, and a repeated header.
    let nats = connect().await;
    let mut headers = async_nats::HeaderMap::new();
    headers.append("B", "1");
    headers.append("B", "2");
    let subject = format!("user.{user}.orders.us.old");
    nats.publish_with_reply_and_headers(subject, "_INBOX.secret", headers, Bytes::new()).await.unwrap();
    let message = next(&mut stream).await;
    assert_eq!((message.subject.as_str(), message.reply_to.as_str()), ("orders.us.old", ""));
    assert_eq!(message.headers.get("B").map(String::as_str), Some("1, 2"));
    assert_eq!(message.sequence, 2);
}

#[tokio::test]
async fn tenants_do_not_receive_each_others_messages() {
    let service = Service::start().await;
    let (one, other) = (new_user(), new_user());
    let mut stream = subscribe(&service.client, &one, ">").await;
    for hostile in [other.as_str(), "*", ">", &format!("{one}."), &format!("{one}.>"), &format!("{one} ")] {
        publish(&service.client, hostile, "a", "not yours").await;
        publish(&service.client, hostile, &format!("user.{one}.a"), "not yours").await;
    }
    for hostile in ["*", ">", "*.*"] {
        let mut spy = subscribe(&service.client, hostile, ">").await;
        publish(&service.client, &one, "a", "yours").await;
        assert_eq!(next(&mut stream).await.data, "yours");
        publish(&service.client, hostile, "own", "own").await;
        assert_eq!(next(&mut spy).await.data, "own");
    }
}

#[tokio::test]
async fn a_group_shares_messages_and_a_member_that_left_gets_none() {
    let (service, user) = (Service::start().await, new_user());
    let mut first = join(&service.client, &user, "jobs").await;
    let second = join(&service.client, &user, "jobs").await;
    let mut third = subscribe(&service.client, &user, "jobs").await;
    drop(second);
    let nats = connect().await;
    // Wait until one of the two members is gone: until the other receives every message.
    let mut sent = 0;
    eventually("the first alone", async || {
        for _ in 0..16 {
            publish(&service.client, &user, "jobs", sent.to_string()).await;
            sent += 1;
        }
        let all: HashSet<_> = take(&mut third, 16).await;
        let wanted = all.len();
        let mut got = HashSet::new();
        while got.len() < wanted {
            match tokio::time::timeout(std::time::Duration::from_millis(50), first.message()).await {
                Ok(Ok(Some(message))) => drop(got.insert(message.data)),
                _ => break,
            }
        }
        got.is_superset(&all)
    })
    .await;
    drop(nats);
}

async fn take(stream: &mut Streaming<MessageResponse>, count: usize) -> HashSet<Bytes> {
    let mut taken = HashSet::new();
    for _ in 0..count {
        taken.insert(next(stream).await.data);
    }
    taken
}

#[tokio::test]
async fn a_subscription_ends_with_its_client() {
    let (service, user) = (Service::start().await, new_user());
    let nats = connect().await;
    let subject = format!("user.{user}.a");
    // By dropping the response stream, and by dropping the connection.
    let stream = subscribe(&service.client, &user, "a").await;
    drop(stream);
    eventually("no subscriber", async || !interested_soon(&nats, &subject).await).await;
    let own = GrpcClient::new(channel(&service.url).await);
    let stream = subscribe(&own, &user, "a").await;
    assert!(interested_soon(&nats, &subject).await);
    drop((own, stream));
    eventually("no subscriber", async || !interested_soon(&nats, &subject).await).await;
}

async fn interested_soon(nats: &async_nats::Client, subject: &str) -> bool {
    let asked = interested(nats, subject);
    tokio::time::timeout(std::time::Duration::from_millis(200), asked).await.unwrap_or(true)
}

#[tokio::test]
async fn a_slow_subscriber_fails_and_misses_no_message_before() {
    let service = Service::with(|builder| builder.subscriber_queue(64, 1 << 20)).await;
    let user = new_user();
    let mut stream = subscribe(&service.client, &user, "a").await;
    let nats = connect().await;
    // More than the queue and the HTTP/2 windows hold.
    for number in 0_u32..4000 {
        let mut data = number.to_be_bytes().to_vec();
        data.resize(4096, 0);
        nats.publish(format!("user.{user}.a"), data.into()).await.unwrap();
    }
    settle(&nats).await;
    publish(&service.client, &user, "b", "").await;
    let mut expected = 0_u32;
    let status = loop {
        match soon("a message or the end", stream.message()).await {
            Ok(Some(message)) => {
                assert_eq!(message.data[..4], expected.to_be_bytes());
                expected += 1;
            }
            Ok(None) => panic!("a silent end after {expected}"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!((64..4000).contains(&expected), "{expected}");
}

#[tokio::test]
async fn unsubscribe_ends_all_subscriptions_to_the_subject_at_all_replicas() {
    let replica = || Service::with(|builder| builder.ack_token_key("a secret of both replicas"));
    let (here, there, user) = (replica().await, replica().await, new_user());
    let mut ended = [
        subscribe(&here.client, &user, "a.*").await,
        subscribe(&there.client, &user, "a.*").await,
        join(&there.client, &user, "a.*").await,
    ];
    let mut kept = subscribe(&there.client, &user, "a.b").await;
    let mut others = subscribe(&there.client, &new_user(), "a.*").await;
    let request = UnsubscribeRequest { user_id: user.clone(), subject: "a.*".into(), ..Default::default() };
    let mut client = here.client.clone();
    assert!(client.unsubscribe(request.clone()).await.unwrap().into_inner().success);
    for stream in &mut ended {
        assert!(soon("the end", stream.message()).await.expect("OK").is_none());
    }
    // Once more without a subscription, and a new one stays open.
    assert!(client.unsubscribe(request).await.unwrap().into_inner().success);
    let mut again = subscribe(&here.client, &user, "a.*").await;
    publish(&here.client, &user, "a.b", "x").await;
    assert_eq!(next(&mut kept).await.data, "x");
    assert_eq!(next(&mut again).await.data, "x");
    tokio::select! {
        biased;
        message = others.message() => panic!("{message:?}"),
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn other_clients_of_the_account_cannot_end_subscriptions() {
    let server = narun_support::Server::start().expect("a nats-server");
    let replica = async || {
        let nats = async_nats::connect(server.url()).await.unwrap();
        let builder = NatsService::builder(nats).authenticator(TrustRequest::new());
        Service::serve(builder.ack_token_key("a secret of both replicas").build()).await
    };
    let (here, there) = (replica().await, replica().await);
    let other = async_nats::connect(server.url()).await.unwrap();
    let mut heard = other.subscribe("narun.>").await.unwrap();
    settle(&other).await;

    let mut ended = subscribe(&here.client, "u", "a").await;
    let request = UnsubscribeRequest { user_id: "u".into(), subject: "a".into(), ..Default::default() };
    there.client.clone().unsubscribe(request).await.unwrap();
    assert!(soon("the end", ended.message()).await.expect("OK").is_none());
    let signed = soon("the message", heard.next()).await.unwrap();

    // The same message again, and forged ones.
    let mut kept = subscribe(&here.client, "u", "a").await;
    let text = std::str::from_utf8(&signed.payload).unwrap();
    for forged in [text.to_owned(), text.replacen(' ', "x ", 1), "x user.u.a".to_owned()] {
        other.publish(signed.subject.clone(), forged.into()).await.unwrap();
    }
    settle(&other).await;
    publish(&here.client, "u", "a", "x").await;
    assert_eq!(next(&mut kept).await.data, "x");
}

#[tokio::test]
async fn inboxes_end_in_randomness() {
    let server = narun_support::Server::builder().jetstream(true).start().expect("a nats-server");
    let nats = async_nats::connect(server.url()).await.unwrap();
    let service = Service::serve(NatsService::builder(nats).authenticator(TrustRequest::new()).build()).await;
    let spy = async_nats::connect(server.url()).await.unwrap();
    let mut heard = spy.subscribe(">").await.unwrap();
    settle(&spy).await;
    let (mut client, mut inboxes) = (service.client.clone(), HashSet::new());
    for number in 0..5 {
        client.create_stream(create("u", named(&format!("s{number}")))).await.unwrap();
    }
    settle(&spy).await;
    while let Some(Some(message)) = heard.next().now_or_never() {
        inboxes.extend(message.reply.map(|reply| reply.to_string()));
    }
    // 128 bits in base64 each. The client's own inboxes begin alike and then count.
    let begins: HashSet<_> = inboxes.iter().filter_map(|inbox| inbox.rsplit('.').next()?.get(..12)).collect();
    assert!(begins.len() >= 5 && begins.len() == inboxes.len(), "{inboxes:?}");
}

#[tokio::test]
async fn a_stopping_service_ends_subscriptions_as_unavailable() {
    let (service, user) = (Service::start().await, new_user());
    let mut stream = subscribe(&service.client, &user, "a").await;
    service.service.end_subscriptions();
    let status = soon("the end", stream.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let request = SubscribeRequest { user_id: user.clone(), subject: "a".into(), ..Default::default() };
    let status = service.client.clone().subscribe(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    publish(&service.client, &user, "a", "still").await;
}

#[tokio::test]
async fn live_subscriptions_have_a_quota() {
    let service = Service::with(|builder| builder.quotas(Quotas::new().subscriptions(2))).await;
    let (user, other) = (new_user(), new_user());
    let first = subscribe(&service.client, &user, "a").await;
    let _second = subscribe(&service.client, &user, "b").await;
    let request = SubscribeRequest { user_id: user.clone(), subject: "c".into(), ..Default::default() };
    let mut client = service.client.clone();
    let status = client.subscribe(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let _others = subscribe(&service.client, &other, "c").await;
    drop(first);
    eventually("a place", async || client.subscribe(request.clone()).await.is_ok()).await;
}

#[tokio::test]
async fn invalid_subscriptions_are_refused() {
    let (mut service, user) = (Service::start().await, new_user());
    for subject in ["", "a..b", "a b", ">.a", "a.>.b", "a\n"] {
        let request =
            SubscribeRequest { user_id: user.clone(), subject: subject.into(), ..Default::default() };
        let status = service.client.subscribe(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{subject:?}");
    }
    for group in ["", "a b", "a\r\nx", &"g".repeat(257)] {
        let request = QueueSubscribeRequest {
            user_id: user.clone(),
            subject: "a".into(),
            queue_group: group.into(),
            ..Default::default()
        };
        let status = service.client.queue_subscribe(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{group:?}");
    }
}

#[tokio::test]
async fn a_subscription_resumes_after_the_server_died() {
    let mut server = narun_support::Server::start().expect("a nats-server");
    let nats = async_nats::connect(server.url()).await.unwrap();
    let service = Service::serve(NatsService::builder(nats).authenticator(TrustRequest::new()).build()).await;
    let mut stream = subscribe(&service.client, "u", "a").await;
    let request = PublishRequest { user_id: "u".into(), subject: "a".into(), ..Default::default() };
    server.kill().unwrap();
    let mut client = service.client.clone();
    eventually("refusals", async || {
        client.publish(request.clone()).await.is_err_and(|status| status.code() == Code::Unavailable)
    })
    .await;
    server.restart().unwrap();
    eventually("a message through", async || client.publish(request.clone()).await.is_ok()).await;
    assert_eq!(next(&mut stream).await.subject, "a");
}
