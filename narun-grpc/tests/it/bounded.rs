//! Memory and time that clients can take.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, iter, pending, poll_fn};
use futures::{FutureExt, Stream, StreamExt};
use http_body_util::StreamBody;
use narun_grpc::audit::AuditRecord;
use narun_grpc::auth::{Principal, StaticTokens, TrustRequest};
use narun_grpc::pb::nats_service_client::NatsServiceClient;
use narun_grpc::pb::{PublishRequest, RequestRequest, SubscribeRequest};
use narun_grpc::tenancy::Quotas;
use narun_grpc::{Method, NatsServer, NatsService, SERVICE};
use prost::Message as _;
use tonic::codegen::Service as _;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};

use crate::harness::{Service, channel, connect, eventually, new_user, settle, soon};

type Frame = http_body::Frame<Bytes>;

/// Calls Publish without a connection.
async fn call<S>(server: &NatsServer, peer: u16, body: S) -> Response<tonic::body::Body>
where
    S: Stream<Item = Result<Frame, Infallible>> + Send + 'static,
{
    let request = Request::post(format!("/{SERVICE}/Publish")).header("content-type", "application/grpc");
    let mut request = request.body(StreamBody::new(body)).unwrap();
    request.extensions_mut().insert(SocketAddr::from(([127, 0, 0, 1], peer)));
    server.clone().call(request).await.unwrap()
}

fn code(response: &Response<tonic::body::Body>) -> Code {
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

/// A message of 1 MiB of which only this much comes.
fn unfinished(bytes: usize) -> impl Stream<Item = Result<Frame, Infallible>> + Send + 'static {
    let prefix = Bytes::from_static(&[0, 0, 16, 0, 0]);
    let frames = [Frame::data(prefix), Frame::data(vec![0; bytes].into())];
    iter(frames.map(Ok)).chain(pending())
}

#[tokio::test]
async fn nothing_is_read_of_a_call_without_credentials() {
    let records = Arc::new(AtomicUsize::new(0));
    let seen = records.clone();
    let tokens = StaticTokens::new().token("secret", Principal::user("ann"));
    let builder =
        NatsService::builder(connect().await).authenticator(tokens).audit(move |record: AuditRecord| {
            assert_eq!((record.method, record.code), (Method::Publish, Code::Unauthenticated));
            seen.fetch_add(1, Ordering::Relaxed);
        });
    let server = builder.build().into_server();
    let body = poll_fn(|_| panic!("the body was read"));
    assert_eq!(code(&soon("a response", call(&server, 1, body)).await), Code::Unauthenticated);
    assert_eq!(records.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn requests_on_their_way_share_a_budget() {
    let builder = NatsService::builder(connect().await).authenticator(TrustRequest::new());
    let builder = builder.peer(|extensions| extensions.get().copied());
    let server = builder.request_memory(200 << 10, 100 << 10).build().into_server();
    let mut first = Box::pin(call(&server, 1, unfinished(90 << 10)));
    let mut other = Box::pin(call(&server, 2, unfinished(90 << 10)));
    for waiting in [&mut first, &mut other] {
        assert!(waiting.as_mut().now_or_never().is_none());
    }
    for peer in [1, 3] {
        let response = soon("a response", call(&server, peer, unfinished(90 << 10))).await;
        assert_eq!(code(&response), Code::ResourceExhausted);
    }
    // Small ones are not counted.
    assert!(call(&server, 1, unfinished(1 << 10)).now_or_never().is_none());
    drop(first);
    for peer in [1, 3] {
        assert!(call(&server, peer, unfinished(90 << 10)).now_or_never().is_none());
    }
}

/// A complete Publish with this much data, without the end of the request.
fn finished(bytes: usize) -> impl Stream<Item = Result<Frame, Infallible>> + Send + 'static {
    let request = PublishRequest {
        user_id: "ann".into(),
        subject: "finished".into(),
        data: vec![0; bytes].into(),
        ..Default::default()
    };
    let mut prefix = vec![0];
    prefix.extend(u32::try_from(request.encoded_len()).unwrap().to_be_bytes());
    let frames = [Frame::data(prefix.into()), Frame::data(request.encode_to_vec().into())];
    iter(frames.map(Ok)).chain(pending())
}

#[tokio::test]
async fn a_finished_message_counts_until_its_request_ends() {
    let builder = NatsService::builder(connect().await).authenticator(TrustRequest::new());
    let builder = builder.longest_timeout(Duration::from_millis(500));
    let builder = builder.peer(|extensions| extensions.get().copied());
    let server = builder.request_memory(200 << 10, 100 << 10).build().into_server();
    let mut first = Box::pin(call(&server, 1, finished(90 << 10)));
    assert!(first.as_mut().now_or_never().is_none());
    let response = soon("a response", call(&server, 1, finished(90 << 10))).await;
    assert_eq!(code(&response), Code::ResourceExhausted);
    assert_eq!(code(&soon("the end", first).await), Code::DeadlineExceeded);
    // More messages neither put the end off, nor are free.
    let more = finished(1 << 10).take(2);
    let more = stream::unfold(Box::pin(more), async |mut more| {
        let next = more.next().await;
        if next.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some((next.unwrap_or_else(|| Ok(Frame::data(Bytes::from_static(&[0; 5])))), more))
    });
    assert_eq!(code(&soon("the end", call(&server, 1, more)).await), Code::DeadlineExceeded);
    let flood = iter(0..).map(|_| Ok(Frame::data(Bytes::from_static(&[0; 5 << 10]))));
    assert_eq!(code(&soon("the end", call(&server, 1, flood)).await), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_request_that_never_ends_is_late() {
    let builder = NatsService::builder(connect().await).authenticator(TrustRequest::new());
    let server = builder.longest_timeout(Duration::from_millis(100)).build().into_server();
    let response = soon("a response", call(&server, 1, unfinished(100))).await;
    assert_eq!(code(&response), Code::DeadlineExceeded);
}

#[tokio::test]
async fn messages_that_wait_for_subscribers_share_a_budget() {
    let service = Service::with(|builder| builder.subscriber_memory(64 << 20, 512 << 10)).await;
    let (user, mut client) = (new_user(), service.client.clone());
    let subscribe = SubscribeRequest { user_id: user.clone(), subject: "a".into(), ..Default::default() };
    let mut unread = Vec::new();
    for _ in 0..4 {
        unread.push(client.subscribe(subscribe.clone()).await.unwrap().into_inner());
    }
    let mut other = client.subscribe(SubscribeRequest { user_id: new_user(), ..subscribe }).await.unwrap();
    let publish = PublishRequest {
        user_id: user,
        subject: "a".into(),
        data: vec![0; 20_000].into(),
        ..Default::default()
    };
    // On another connection: unread messages take the window of theirs.
    let mut publishing = NatsServiceClient::new(channel(&service.url).await);
    for _ in 0..100 {
        publishing.publish(publish.clone()).await.unwrap();
    }
    let mut ended = 0;
    for messages in &mut unread {
        let mut received = 0;
        while received < 100 {
            match soon("a message", messages.message()).await {
                Ok(message) => received += usize::from(message.is_some()).max(1),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    ended += 1;
                    break;
                }
            }
        }
    }
    assert!(ended > 0);
    assert!(other.get_mut().message().now_or_never().is_none());
}

#[tokio::test]
async fn waiting_requests_count_as_subscriptions() {
    let service = Service::with(|builder| builder.quotas(Quotas::new().subscriptions(2))).await;
    let (user, nats) = (new_user(), connect().await);
    let mut silent = nats.subscribe(format!("user.{user}.a")).await.unwrap();
    settle(&nats).await;
    let request = RequestRequest { user_id: user, subject: "a".into(), ..Default::default() };
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let (mut client, request) = (service.client.clone(), request.clone());
        waiting.push(tokio::spawn(async move { client.request(request).await }));
        soon("the request", silent.next()).await.unwrap();
    }
    let status = service.client.clone().request(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    waiting.pop().unwrap().abort();
    let (client, request) = (service.client.clone(), &request);
    eventually("a place", async || {
        let (mut client, request) = (client.clone(), request.clone());
        tokio::select! {
            _ = client.request(request) => false,
            message = silent.next() => message.is_some(),
        }
    })
    .await;
}
