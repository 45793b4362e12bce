//! Publish and PublishBatch.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use narun_grpc::NatsService;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{NatsMessage, PublishBatchRequest, PublishRequest};
use tonic::Code;

use crate::harness::{Service, connect, eventually, new_user, settle, soon};

fn message(user: &str, subject: &str) -> PublishRequest {
    PublishRequest { user_id: user.to_owned(), subject: subject.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_message_reaches_the_tenants_subject_with_all_fields() {
    let (mut service, user) = (Service::start().await, new_user());
    let nats = connect().await;
    let mut all = nats.subscribe(format!("user.{user}.>")).await.unwrap();
    settle(&nats).await;
    let request = PublishRequest {
        data: Bytes::from_static(b"\0\xff"),
        headers: [("X-Kind".to_owned(), "a b".to_owned()), ("nats-msg-id".to_owned(), "1".to_owned())].into(),
        reply_to: "answers.here".to_owned(),
        ..message(&user, "orders.new")
    };
    let response = service.client.publish(request).await.unwrap().into_inner();
    assert!(response.success);
    let received = soon("the message", all.next()).await.unwrap();
    assert_eq!(received.subject.as_str(), format!("user.{user}.orders.new"));
    assert_eq!(received.reply.unwrap().as_str(), format!("user.{user}.answers.here"));
    assert_eq!(&received.payload[..], b"\0\xff");
    assert_eq!(received.headers.unwrap().get("X-Kind").unwrap().as_str(), "a b");
}

#[tokio::test]
async fn invalid_messages_are_refused() {
    let mut service = Service::start().await;
    let user = new_user();
    let refused = |request: PublishRequest| (request, Code::InvalidArgument);
    let header = |name: &str, value: &str| PublishRequest {
        headers: [(name.to_owned(), value.to_owned())].into(),
        ..message(&user, "a")
    };
    let replying = |to: &str| PublishRequest { reply_to: to.to_owned(), ..message(&user, "a") };
    for (request, code) in [
        refused(message("", "a")),
        refused(message(&user, "")),
        refused(message(&user, "a.*")),
        refused(message(&user, ">")),
        refused(message(&user, "a..b")),
        refused(message(&user, ".a")),
        refused(message(&user, "a b")),
        refused(message(&user, "a\r\nPUB user.x.y 0\r\n")),
        refused(message(&user, &"x".repeat(4096))),
        refused(message(&"u".repeat(4096), "a")),
        refused(replying("b.>")),
        refused(replying("b c")),
        refused(PublishRequest { reply_to: "x".repeat(2000), ..message(&user, &"x".repeat(2000)) }),
        refused(header("", "x")),
        refused(header("a:b", "x")),
        refused(header("a b", "x")),
        refused(header("ä", "x")),
        refused(header("a", "x\ry")),
        refused(header("a", "x\ny")),
        refused(header("a", "x\0y")),
        refused(header("a", "ä")),
        refused(header("Nats-Rollup", "all")),
        refused(header("nats-expected-stream", "x")),
        refused(header("NATS-TTL", "1s")),
        refused(header("KV-Operation", "DEL")),
    ] {
        let shown = format!("{request:.200?}");
        let status = service.client.publish(request).await.expect_err(&shown);
        assert_eq!(status.code(), code, "{shown}");
        assert!(!status.message().contains("user."), "{}", status.message());
    }
}

#[tokio::test]
async fn the_largest_message_passes_and_one_byte_more_is_refused() {
    let (mut service, user) = (Service::start().await, new_user());
    let limit = service.service.connection().client().max_payload();
    let sized = |size: usize| PublishRequest { data: vec![7; size].into(), ..message(&user, "a") };
    assert_eq!(limit, 1_048_576);
    assert!(service.client.publish(sized(limit)).await.unwrap().into_inner().success);
    let status = service.client.publish(sized(limit + 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("1048576"), "{}", status.message());
    let with_header = PublishRequest { headers: [("a".to_owned(), "b".to_owned())].into(), ..sized(limit) };
    assert_eq!(service.client.publish(with_header).await.unwrap_err().code(), Code::ResourceExhausted);
    assert!(service.client.publish(sized(1)).await.unwrap().into_inner().success);
    let statistics = service.service.connection().client().statistics();
    assert_eq!(statistics.connects.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_batch_is_published_in_order_without_its_invalid_messages() {
    let (mut service, user) = (Service::start().await, new_user());
    let nats = connect().await;
    let mut all = nats.subscribe(format!("user.{user}.>")).await.unwrap();
    settle(&nats).await;
    let one = |number: usize| NatsMessage {
        subject: if number % 50 == 7 { "no good".to_owned() } else { format!("n.{}", number / 4) },
        data: Bytes::from(number.to_string()),
        ..Default::default()
    };
    let messages = (0..100).map(one).collect();
    let request = PublishBatchRequest { user_id: user.clone(), messages, ..Default::default() };
    let response = service.client.publish_batch(request).await.unwrap().into_inner();
    assert!(!response.success);
    assert_eq!(response.published_count, 98);
    assert_eq!(response.errors.len(), 2);
    assert!(response.errors[0].starts_with("message 7: "), "{:?}", response.errors);
    assert!(response.errors[1].starts_with("message 57: "), "{:?}", response.errors);
    for number in (0..100).filter(|number| number % 50 != 7) {
        let received = soon("a message", all.next()).await.unwrap();
        assert_eq!(received.payload, number.to_string());
        assert_eq!(received.subject.as_str(), format!("user.{user}.n.{}", number / 4));
    }
}

#[tokio::test]
async fn a_batch_with_too_many_messages_is_refused() {
    let (mut service, user) = (Service::start().await, new_user());
    let nats = connect().await;
    let mut all = nats.subscribe(format!("user.{user}.>")).await.unwrap();
    settle(&nats).await;
    let messages = vec![NatsMessage { subject: "a".into(), ..Default::default() }; 65_537];
    let request = PublishBatchRequest { user_id: user, messages, ..Default::default() };
    let status = service.client.publish_batch(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    settle(&nats).await;
    assert!(all.next().now_or_never().is_none());
}

#[tokio::test]
async fn an_empty_batch_is_a_success() {
    let (mut service, user) = (Service::start().await, new_user());
    let request = PublishBatchRequest { user_id: user, ..Default::default() };
    let response = service.client.publish_batch(request).await.unwrap().into_inner();
    assert!(response.success);
    assert_eq!(response.published_count, 0);
}

#[tokio::test]
async fn many_publishers_share_fences_and_all_succeed() {
    let (service, user) = (Service::start().await, new_user());
    let nats = connect().await;
    let mut all = nats.subscribe(format!("user.{user}.>")).await.unwrap();
    settle(&nats).await;
    let publishes = (0..500).map(|number| {
        let mut client = service.client.clone();
        let request = message(&user, &format!("n.{number}"));
        async move { client.publish(request).await.unwrap().into_inner().success }
    });
    let all_published: Vec<bool> = futures::future::join_all(publishes).await;
    assert!(all_published.into_iter().all(|success| success));
    for _ in 0..500 {
        soon("a message", all.next()).await.unwrap();
    }
}

#[tokio::test]
async fn a_publish_succeeds_only_once_the_server_has_the_message() {
    let server = narun_support::Server::start().expect("a nats-server");
    let nats = async_nats::connect(server.url()).await.unwrap();
    let mut service =
        Service::serve(NatsService::builder(nats).authenticator(TrustRequest::new()).build()).await;
    service.client.publish(message("u", "a")).await.unwrap();
    let pid =
        server.pid().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())).expect("a process");
    let other = async_nats::connect(server.url()).await.unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // Its threads do not all stop at once.
    let responds = async || tokio::time::timeout(Duration::from_secs(1), settle(&other)).await.is_ok();
    eventually("a server that does not respond", async || !responds().await).await;
    let mut request = tonic::Request::new(message("u", "a"));
    request.set_timeout(Duration::from_millis(300));
    let result = service.client.publish(request).await;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let status = result.expect_err("no confirmation");
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    // An abandoned fence does not block later callers.
    soon("a success", service.client.publish(message("u", "a"))).await.unwrap();
}
