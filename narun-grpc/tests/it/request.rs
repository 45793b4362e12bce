//! Request.

use bytes::Bytes;
use futures::StreamExt;
use narun_grpc::pb::{PublishRequest, RequestRequest, SubscribeRequest};
use tonic::Code;

use crate::harness::{Service, connect, new_user, settle, soon};

fn request(user: &str, subject: &str, timeout_ms: Option<i32>) -> RequestRequest {
    RequestRequest {
        user_id: user.to_owned(),
        subject: subject.to_owned(),
        data: Bytes::from_static(b"ping"),
        timeout: timeout_ms.map(|ms| prost_types::Duration { seconds: 0, nanos: ms * 1_000_000 }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_subscriber_replies_with_a_publish() {
    let (service, user) = (Service::start().await, new_user());
    let mut replying = service.client.clone();
    let subscribe =
        SubscribeRequest { user_id: user.clone(), subject: "work.*".into(), ..Default::default() };
    let mut work = replying.subscribe(subscribe).await.unwrap().into_inner();
    let replying_user = user.clone();
    let reply = tokio::spawn(async move {
        let message = soon("a request", work.message()).await.unwrap().unwrap();
        assert_eq!(message.subject, "work.now");
        let publish = PublishRequest {
            user_id: replying_user,
            subject: message.reply_to,
            data: Bytes::from_static(b"pong"),
            ..Default::default()
        };
        replying.publish(publish).await.unwrap();
    });
    let mut asking = service.client.clone();
    let response = asking.request(request(&user, "work.now", None)).await.unwrap().into_inner();
    assert!(response.success, "{response:?}");
    assert_eq!(response.data, "pong");
    reply.await.unwrap();
}

#[tokio::test]
async fn no_responders_and_a_timeout_are_negative_responses() {
    let (mut service, user) = (Service::start().await, new_user());
    let response = service.client.request(request(&user, "nobody", None)).await.unwrap().into_inner();
    assert!(!response.success);
    assert!(!response.error_message.is_empty());

    let nats = connect().await;
    let _silent = nats.subscribe(format!("user.{user}.silent")).await.unwrap();
    settle(&nats).await;
    let year = RequestRequest {
        timeout: Some(prost_types::Duration { seconds: i64::MAX, nanos: i32::MAX }),
        ..request(&user, "silent", None)
    };
    let mut year = tonic::Request::new(year);
    year.set_timeout(std::time::Duration::from_millis(300));
    let ended = soon("the end", service.client.request(year)).await;
    assert!(ended.is_err() || ended.is_ok_and(|response| !response.into_inner().success));
    let response = service.client.request(request(&user, "silent", Some(50))).await.unwrap().into_inner();
    assert!(!response.success);
    assert!(!response.error_message.is_empty());
    let status = service.client.request(request(&user, "a.>", None)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_grpc_deadline_comes_before_the_timeout() {
    let (mut service, user) = (Service::start().await, new_user());
    let nats = connect().await;
    let mut silent = nats.subscribe(format!("user.{user}.silent")).await.unwrap();
    settle(&nats).await;
    let mut request = tonic::Request::new(request(&user, "silent", None));
    request.set_timeout(std::time::Duration::from_secs(2));
    // Either the response comes just in time, or the client times out first.
    match soon("an end", service.client.request(request)).await {
        Ok(response) => assert!(!response.into_inner().success),
        Err(status) => {
            assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}")
        }
    }
    let message = soon("the request", silent.next()).await.unwrap();
    assert!(message.reply.unwrap().starts_with(&format!("user.{user}._INBOX.")));
}
