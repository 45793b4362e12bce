//! Calls that are cancelled, fail or are aborted.

use futures::channel::mpsc::unbounded;
use futures::stream;
use tonic::{Code, Request, Response, Streaming};

use super::service::*;
use super::{Client, Site};
use crate::harness::{eventually, soon};

const FIRST: ResponseParameters = ResponseParameters { size: 31_415, interval_us: 0 };

#[tokio::test]
async fn cancel_after_begin() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let (sender, requests) = unbounded::<InputRequest>();
    let call = tokio::spawn(async move {
        client.client_streaming::<_, InputResponse>(INPUT, Request::new(requests)).await
    });
    eventually("a call", async || site.service.begun() == 1).await;
    assert_eq!(site.service.over(), 0);
    call.abort();
    eventually("a dropped handler", async || site.service.over() == 1).await;
    drop(sender);
}

#[tokio::test]
async fn cancel_after_first_response() {
    let site = Site::start().await;
    let (sender, requests) = unbounded();
    let never = ResponseParameters { size: 1, interval_us: i32::MAX };
    let request = OutputRequest { response_parameters: vec![FIRST, never], ..OutputRequest::default() };
    sender.unbounded_send(request).expect("an open stream");
    let requests = Request::new(requests);
    let mut responses: Streaming<OutputResponse> =
        site.client().await.streaming(DUPLEX, requests).await.expect("a response").into_inner();
    let first = soon("a message", responses.message()).await.expect("no error").expect("a message");
    assert_eq!(first.payload, Some(zeros(FIRST.size)));
    assert_eq!(site.service.over(), 0);
    // The transport keeps a call open while more requests may follow.
    drop((sender, responses));
    eventually("a dropped handler", async || site.service.over() == 1).await;
}

#[tokio::test]
async fn a_call_without_a_consumer_is_unavailable() {
    let site = Site::start_with(|builder, _| builder.grpc(NAME, "nobody"), |routes| routes).await;
    let mut client = site.client().await;
    let status = client.unary::<_, ()>(EMPTY, Request::new(())).await.expect_err("a status");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    let requests = stream::pending::<OutputRequest>();
    let status =
        client.streaming::<_, OutputResponse>(DUPLEX, Request::new(requests)).await.expect_err("a status");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

#[tokio::test]
async fn a_panic_is_internal_and_other_calls_continue() {
    let site = Site::start().await;
    let mut client: Client<_> = site.client().await;
    let status = client.unary::<_, ()>(PANIC, Request::new(())).await.expect_err("a status");
    assert_eq!(status.code(), Code::Internal, "{status}");
    let _: Response<()> = client.unary(EMPTY, Request::new(())).await.expect("a response");
}

#[tokio::test]
async fn a_consumer_that_ends_aborts_its_calls() {
    let site = Site::start().await;
    let (sender, requests) = unbounded();
    let request = OutputRequest { response_parameters: vec![FIRST], ..OutputRequest::default() };
    sender.unbounded_send(request).expect("an open stream");
    let mut responses: Streaming<OutputResponse> =
        site.client().await.streaming(DUPLEX, Request::new(requests)).await.expect("a response").into_inner();
    soon("a message", responses.message()).await.expect("no error").expect("a message");
    site.consumer.abort();
    let status = soon("the end", responses.message()).await.expect_err("a status");
    assert_eq!(status.code(), Code::Internal, "{status}");
    drop(sender);
}
