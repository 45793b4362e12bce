//! The loop at tokio's time, which is paused: nothing here waits for real.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::Subject;
use bytes::Bytes;
use futures::FutureExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use narun_core::exchange::{
    Callee, CalleeConfig, CalleeEvent, Caller, CallerConfig, Cancelled, ConnectionChange, FlowConfig,
    SubmissionConfig,
};
use narun_core::fields::Edit;
use narun_core::frame::{Frame, RequestFrame, RequestHead, ResetCode, ResponseHead};
use narun_core::{BodyErrorKind, ExchangeId, Failure, FailureKind, Limits};
use tokio::time::{Instant, advance};

use super::*;
use crate::inbox::{Endpoint, ReplyPolicy};
use crate::jetstream::header;
use crate::link::PublishError;
use crate::link::memory::{Memory, Sent};

mod connection;
mod denied;
mod outage;

const CONSUMER: Subject = Subject::from_static("_INBOX.consumer.token");
const GATEWAY: Subject = Subject::from_static("_INBOX.gateway.token");

fn endpoint() -> (Memory, Arc<Endpoint>) {
    let link = Memory::default();
    let endpoint = Endpoint::new(link.clone(), "_INBOX", ReplyPolicy::default(), Limits::default(), |_| {});
    (link, Arc::new(endpoint))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An encoded REQUEST without a body.
fn request() -> Bytes {
    let parts = http::Request::new(()).into_parts().0;
    let head = RequestHead::new(ExchangeId::from_bytes([1; 16]));
    head.encode(&parts, Edit::default(), &b""[..], None, &Limits::default()).expect("small")
}

/// An encoded RESPONSE without a body, or with the first part of one.
fn response(end: bool) -> Bytes {
    let parts = http::Response::new(()).into_parts().0;
    let mut head = ResponseHead::new();
    head.end = end;
    head.encode(&parts, Edit::default(), &b""[..], None, &Limits::default()).expect("small")
}

fn call(endpoint: &Arc<Endpoint>, config: CallerConfig) -> Call {
    Call::new(endpoint.clone(), Subject::from_static("app"), request(), config, 1)
}

/// An exchange whose response has begun and is streamed, its body, and the reply subject of its request.
async fn responding(
    link: &Memory,
    endpoint: &Arc<Endpoint>,
) -> (StreamedExchange<UnsyncBoxBody<Bytes, Failure>>, IncomingResponse, Subject) {
    let flow = Arc::new(FlowConfig::default());
    let mut call = pin!(call(endpoint, CallerConfig::default()).streaming(flow));
    assert!(call.as_mut().now_or_never().is_none());
    let reply = link.take().and_then(|sent| sent.reply).expect("a token");
    endpoint.deliver(&reply, response(false), Some(CONSUMER));
    assert!(!call.as_mut().await.expect("a head").head.end);
    let (exchange, incoming) = StreamedExchange::continue_call(call.as_mut());
    (exchange, incoming, reply)
}

fn durable_call(endpoint: &Arc<Endpoint>) -> DurableCall {
    let request = DurableRequest {
        to: Subject::from_static("task.TASK.app"),
        stream: "TASK",
        id: ExchangeId::from_bytes([1; 16]),
        frame: request(),
        expiry: Some(seconds(60)),
        wants_response: true,
    };
    DurableCall::new(endpoint.clone(), request, SubmissionConfig::default())
}

fn frame(sent: &Sent) -> Frame {
    Frame::decode(&sent.payload, &Limits::default()).expect("own frames are valid")
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_response_times_out() {
    let (link, endpoint) = endpoint();
    let started = Instant::now();
    let failure = call(&endpoint, CallerConfig::default()).await.expect_err("no response");
    assert_eq!((failure.kind(), started.elapsed()), (FailureKind::TimedOut, seconds(15)));
    let sent = link.take().expect("the request");
    assert_eq!((sent.to.as_str(), link.take()), ("app", None));
    assert_eq!(endpoint.open_tokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_call_is_sent_again_after_a_second_of_silence() {
    let (link, endpoint) = endpoint();
    let mut config = CallerConfig::default();
    config.idempotent = true;
    let call = tokio::spawn(call(&endpoint, config));
    advance(Duration::from_millis(999)).await;
    let first = link.take().expect("the request");
    assert_eq!(link.take(), None);
    advance(Duration::from_millis(2)).await;
    tokio::task::yield_now().await;
    let second = link.take().expect("the request again");
    assert_ne!(first.reply, second.reply);
    endpoint.deliver(&second.reply.expect("a token"), response(true), None);
    assert!(call.await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_has_no_subscriber_fails_at_once() {
    let (link, endpoint) = endpoint();
    let mut call = pin!(call(&endpoint, CallerConfig::default()));
    assert!(call.as_mut().now_or_never().is_none());
    endpoint.deliver_no_responders(&link.take().and_then(|sent| sent.reply).expect("a token"));
    let started = Instant::now();
    let failure = call.await.expect_err("no consumer");
    assert_eq!((failure.kind(), started.elapsed()), (FailureKind::NoConsumer, Duration::ZERO));
}

/// The handler of a request, which responds when it is asked to.
struct Handler {
    responds: bool,
}

impl Application<Callee<Subject>> for Handler {
    type Output = ();

    fn poll_advance(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        endpoint: &Endpoint,
        machine: &mut impl Hold<Callee<Subject>>,
    ) -> Poll<()> {
        if std::mem::take(&mut self.responds) {
            machine.with(|callee| callee.respond(endpoint.now(), response(true)));
        }
        Poll::Pending
    }

    fn event(self: Pin<&mut Self>, _event: CalleeEvent) -> Option<()> {
        Some(())
    }

    fn unsent(
        self: Pin<&mut Self>,
        _error: PublishError,
        _endpoint: &Endpoint,
        _machine: &mut impl Hold<Callee<Subject>>,
    ) -> Option<()> {
        None
    }

    fn ended(self: Pin<&mut Self>) -> Option<()> {
        Some(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_frame_resets_its_sender() {
    let (link, endpoint) = endpoint();
    let mut call = pin!(call(&endpoint, CallerConfig::default()));
    assert!(call.as_mut().now_or_never().is_none());
    let token = link.take().and_then(|sent| sent.reply).expect("a token");
    let parts = http::Response::new(()).into_parts().0;
    let body = vec![0; 900_000];
    let large = ResponseHead::new().encode(&parts, Edit::default(), &body[..], None, &Limits::default());
    endpoint.deliver(&token, large.expect("no check"), Some(CONSUMER));
    assert_eq!(call.await.expect_err("an invalid response").kind(), FailureKind::BadResponse);
    let reset = link.take().expect("a RESET");
    assert_eq!((&reset.to, &reset.reply), (&CONSUMER, &None));
    assert!(matches!(frame(&reset), Frame::Reset(reset) if reset.code == ResetCode::Internal));
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_while_the_queue_is_full() {
    let (link, endpoint) = endpoint();
    link.set_full(true);
    let call = tokio::spawn(call(&endpoint, CallerConfig::default()));
    advance(seconds(1)).await;
    assert_eq!(link.take(), None);
    link.set_full(false);
    tokio::task::yield_now().await;
    let sent = link.take().expect("the request");
    endpoint.deliver(&sent.reply.expect("a token"), response(true), None);
    assert!(call.await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_streamed_response_that_falls_silent_times_out() {
    let (link, endpoint) = endpoint();
    let (exchange, incoming, _) = responding(&link, &endpoint).await;
    let started = Instant::now();
    let exchange = tokio::spawn(exchange);
    let error = incoming.collect().await.expect_err("no end");
    assert_eq!((error.kind(), started.elapsed()), (BodyErrorKind::TimedOut, seconds(30)));
    exchange.await.expect("no panic");
    let probes =
        std::iter::from_fn(|| link.take()).filter(|sent| matches!(frame(sent), Frame::Probe)).count();
    assert_eq!(probes, 5, "after 1, 3, 7, 15 and 25 s");
}

#[tokio::test(start_paused = true)]
async fn a_durable_call_is_published_again_until_it_is_confirmed() {
    let (link, endpoint) = endpoint();
    let mut call = durable_call(&endpoint);
    let started = Instant::now();
    let failure = call.accepted().await.expect_err("no PubAck");
    assert_eq!((failure.kind(), started.elapsed()), (FailureKind::NotConfirmed, seconds(15)));
    assert!(call.published() == 15 && call.may_be_stored());
    let sent: Vec<_> = std::iter::from_fn(|| link.take()).collect();
    assert_eq!(sent.len(), 15);
    let headers = sent[0].headers.as_ref().expect("headers");
    assert_eq!(headers.get(header::EXPECTED_STREAM).map(|stream| stream.as_str()), Some("TASK"));
    assert_eq!(headers.get(header::EXPIRY).map(|expiry| expiry.as_str()), Some("60000"));
    assert!(sent.iter().all(|again| again.headers == sent[0].headers && again.reply == sent[0].reply));
}

#[tokio::test(start_paused = true)]
async fn a_durable_call_is_accepted_then_answered() {
    let (link, endpoint) = endpoint();
    let mut call = durable_call(&endpoint);
    assert!(call.accepted().now_or_never().is_none());
    let Sent { reply, headers, .. } = link.take().expect("the request");
    endpoint.deliver(&reply.expect("a token"), Bytes::from_static(br#"{"stream":"TASK","seq":7}"#), None);
    assert_eq!(call.accepted().await, Ok(false));
    let inbox = headers.expect("headers").get(header::INBOX).expect("an inbox").to_string();
    endpoint.deliver(&inbox, response(true), None);
    assert!(call.response().await.is_ok());
}

/// A handler that never returns.
#[derive(Default)]
struct Never {
    cancelled: Option<Cancelled>,
}

impl Application<Callee<Subject>> for Never {
    type Output = Option<Cancelled>;

    fn poll_advance(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _endpoint: &Endpoint,
        _machine: &mut impl Hold<Callee<Subject>>,
    ) -> Poll<()> {
        Poll::Pending
    }

    fn event(mut self: Pin<&mut Self>, CalleeEvent::Cancelled(why): CalleeEvent) -> Option<Self::Output> {
        self.cancelled = Some(why);
        None
    }

    fn unsent(
        self: Pin<&mut Self>,
        error: PublishError,
        _endpoint: &Endpoint,
        _machine: &mut impl Hold<Callee<Subject>>,
    ) -> Option<Self::Output> {
        panic!("{error}")
    }

    fn ended(self: Pin<&mut Self>) -> Option<Self::Output> {
        Some(self.cancelled)
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_at_work_is_announced_and_ends_at_its_deadline() {
    let (link, endpoint) = endpoint();
    let mut head = RequestFrame::decode(&request(), &Limits::default()).expect("valid").head;
    head.head_timeout = Some(seconds(12));
    let callee = Callee::new(endpoint.now(), &head, GATEWAY, 0, Arc::new(CalleeConfig::default()));
    let mut serving = pin!(Serving::serve(endpoint.clone(), HeldCallee::Own(callee)));
    let (started, mut never) = (Instant::now(), pin!(Never::default()));
    let why = std::future::poll_fn(|cx| serving.as_mut().poll(cx, never.as_mut())).await;
    assert_eq!((why, started.elapsed()), (Some(Cancelled::Deadline), seconds(12)));
    let frames: Vec<_> = std::iter::from_fn(|| link.take()).map(|sent| frame(&sent)).collect();
    let [working @ .., Frame::Reset(reset)] = &frames[..] else { panic!("{frames:?}") };
    assert!(working.len() == 3 && working.iter().all(|frame| matches!(frame, Frame::Working(_))));
    assert_eq!(reset.code, ResetCode::Deadline);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_off_gives_its_error_to_the_reader() {
    let (_link, endpoint) = endpoint();
    let flow = Arc::new(FlowConfig::default());
    let machine = Caller::new(endpoint.now(), CallerConfig::default(), 1).with_body(endpoint.now(), 0, flow);
    let body = Empty::<Bytes>::new().map_err(|never| -> Failure { match never {} });
    let to = Subject::from_static("app");
    let (exchange, incoming) = StreamedExchange::new(endpoint.clone(), to, request(), machine, Some(body));
    drop(exchange);
    let start = std::future::poll_fn(|cx| incoming.poll_start(cx)).await;
    assert_eq!(start.expect_err("no response").kind(), FailureKind::Disconnected);
    assert_eq!(endpoint.open_tokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_response_is_returned_while_another_attempt_waits_for_room() {
    let (link, endpoint) = endpoint();
    let mut config = CallerConfig::default();
    config.idempotent = true;
    let call = tokio::spawn(call(&endpoint, config));
    tokio::task::yield_now().await;
    let first = link.take().and_then(|sent| sent.reply).expect("a token");
    link.set_full(true);
    advance(seconds(2)).await;
    endpoint.deliver(&first, response(true), None);
    assert!(call.await.expect("no panic").is_ok());
}

#[tokio::test(start_paused = true)]
async fn probes_cause_few_frames_while_the_queue_is_full() {
    let (link, endpoint) = endpoint();
    let (exchange, _incoming, reply) = responding(&link, &endpoint).await;
    let mut exchange = pin!(exchange);
    link.set_full(true);
    for _ in 0..10_000 {
        endpoint.deliver(&reply, narun_core::frame::encode_probe(), Some(CONSUMER));
        assert!(exchange.as_mut().now_or_never().is_none());
    }
    link.set_full(false);
    assert!(exchange.as_mut().now_or_never().is_none());
    let frames = std::iter::from_fn(|| link.take()).count();
    assert!((1..=2000).contains(&frames), "{frames}");
}

/// A handler that responds at once.
struct AtOnce;

impl Application<Callee<Subject>> for AtOnce {
    type Output = ();

    fn poll_advance(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        endpoint: &Endpoint,
        machine: &mut impl Hold<Callee<Subject>>,
    ) -> Poll<()> {
        let now = endpoint.now();
        machine.with(|callee| callee.respond(now, response(true)));
        Poll::Pending
    }

    fn event(self: Pin<&mut Self>, _event: CalleeEvent) -> Option<()> {
        None
    }

    fn unsent(
        self: Pin<&mut Self>,
        error: PublishError,
        _endpoint: &Endpoint,
        _machine: &mut impl Hold<Callee<Subject>>,
    ) -> Option<()> {
        panic!("{error}")
    }

    fn ended(self: Pin<&mut Self>) -> Option<()> {
        Some(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_waits_for_room_in_the_queue() {
    let (link, endpoint) = endpoint();
    let head = RequestFrame::decode(&request(), &Limits::default()).expect("valid").head;
    let callee = Callee::new(endpoint.now(), &head, GATEWAY, 0, Arc::new(CalleeConfig::default()));
    let mut serving = Box::pin(Serving::serve(endpoint.clone(), HeldCallee::Own(callee)));
    link.set_full(true);
    let served = tokio::spawn(async move {
        std::future::poll_fn(|cx| serving.as_mut().poll(cx, Pin::new(&mut AtOnce))).await;
    });
    advance(seconds(60)).await;
    assert!(!served.is_finished());
    link.set_full(false);
    served.await.expect("no panic");
    assert!(matches!(frame(&link.take().expect("the response")), Frame::Response(_)));
}
