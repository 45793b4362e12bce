use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures::future::BoxFuture;
use http_body::Body as _;
use http_body_util::combinators::MapErr;
use http_body_util::{BodyExt, Full};

use super::*;
use crate::drive::Call;
use crate::inbox::ReplyPolicy;
use narun_core::exchange::{Callee, CalleeConfig, CallerConfig, FlowConfig};
use narun_core::fields::Edit;
use narun_core::frame::{RequestFrame, ResponseHead};
use narun_core::{Body, BodyErrorKind, ExchangeId, Limits, Time};

type Sent = (String, Option<String>, Bytes);

/// A request's body that does not break off.
type Whole = MapErr<Full<Bytes>, fn(Infallible) -> Failure>;

const CONSUMER: &str = "_INBOX.consumer.token";

/// A bus that keeps what is published, at a time that stands still.
#[derive(Clone, Default)]
struct Memory {
    sent: Arc<Mutex<VecDeque<Sent>>>,
    millis: Arc<AtomicU64>,
}

struct Clock(Memory);

impl Timer for Clock {
    fn poll_until(self: Pin<&mut Self>, _cx: &mut Context<'_>, deadline: Time) -> Poll<()> {
        if deadline <= self.0.now() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Link for Memory {
    type Address = String;
    type Headers = ();
    type Timer = Clock;

    fn address(text: String) -> String {
        text
    }

    fn headers(_fields: &[(&'static str, &str)]) {}

    fn try_publish(
        &self,
        to: String,
        reply: Option<String>,
        _headers: Option<&()>,
        payload: Bytes,
    ) -> Result<(), PublishError> {
        self.sent.lock().expect("no panic").push_back((to, reply, payload));
        Ok(())
    }

    fn publish(
        &self,
        _to: String,
        _reply: Option<String>,
        _headers: Option<&()>,
        _payload: Bytes,
    ) -> BoxFuture<'static, Result<(), PublishError>> {
        unreachable!("its queue is never full")
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn now(&self) -> Time {
        Time::new(Duration::from_millis(self.millis.load(Ordering::Relaxed)))
    }

    fn timer(&self) -> Clock {
        Clock(self.clone())
    }
}

/// An endpoint, and a consumer that answers with the request's body.
struct World {
    link: Memory,
    endpoint: Arc<Endpoint<Memory>>,
    config: CalleeConfig,
    echo: Option<Callee<String>>,
    responded: bool,
    ended: bool,
    resets: Vec<ResetCode>,
}

impl World {
    fn new() -> Self {
        let link = Memory::default();
        let replies = ReplyPolicy::default();
        let endpoint = Arc::new(Endpoint::new(link.clone(), "_INBOX", replies, Limits::default(), |_| {}));
        Self {
            link,
            endpoint,
            config: CalleeConfig::default(),
            echo: None,
            responded: false,
            ended: false,
            resets: Vec::new(),
        }
    }

    /// An exchange whose request's body is sent in full after its head.
    fn converse(&self, body: &Bytes) -> (Conversation<Memory, Whole>, IncomingResponse<Memory>) {
        let flow = Arc::new(FlowConfig::default());
        let machine = Caller::new(Time::ZERO, CallerConfig::default(), 1).with_body(Time::ZERO, 0, flow);
        let whole: fn(Infallible) -> Failure = |never| match never {};
        let (endpoint, body) = (self.endpoint.clone(), Some(Full::new(body.clone()).map_err(whole)));
        let registration = endpoint.register();
        Conversation::new(endpoint, "app".to_owned(), request(false), machine, registration, body)
    }

    /// Delivers what was published, and lets the consumer go on.
    fn go_on(&mut self) {
        while let Some((to, reply, payload)) = self.take() {
            if to == "app" {
                let frame = RequestFrame::decode(&payload, &Limits::default()).expect("a request");
                let gateway = reply.expect("a token");
                let callee = Callee::new(Time::ZERO, &frame.head, gateway, &self.config);
                self.echo = Some(match frame.head.end {
                    true => callee,
                    false => callee.with_body(Time::ZERO, None, frame.body, &self.config),
                });
            } else {
                assert_eq!(to, CONSUMER);
                let frame = Frame::decode(&payload, &Limits::default()).expect("own frames are valid");
                if let Frame::Reset(reset) = &frame {
                    self.resets.push(reset.code);
                }
                self.echo.as_mut().expect("a request").handle_frame(Time::ZERO, frame, reply);
            }
        }
        let Some(echo) = &mut self.echo else { return };
        if !std::mem::replace(&mut self.responded, true) {
            let parts = http::Response::new(()).into_parts().0;
            let head = ResponseHead { end: false, ..ResponseHead::new() };
            let frame = head.encode(&parts, Edit::default(), &b""[..], None, &Limits::default());
            echo.respond_with_body(Time::ZERO, frame.expect("small"), 0, &self.config);
        }
        loop {
            while echo.wants_data() && !self.ended {
                match echo.poll_read() {
                    Poll::Ready(Some(Ok(frame))) => echo.send(frame.into_data().expect("data")),
                    Poll::Ready(None) => {
                        self.ended = true;
                        echo.finish(None);
                    }
                    Poll::Pending | Poll::Ready(Some(Err(_))) => break,
                }
            }
            let Some(Transmit::Frame { to, payload, reply }) = echo.poll_transmit() else { break };
            self.endpoint.deliver(&to, payload, reply.map(|_| CONSUMER.to_owned()));
        }
    }

    fn take(&self) -> Option<Sent> {
        self.link.sent.lock().expect("no panic").pop_front()
    }
}

fn request(end: bool) -> Bytes {
    let parts = http::Request::new(()).into_parts().0;
    let head = RequestHead { end, ..RequestHead::new(ExchangeId::from_bytes([1; 16])) };
    head.encode(&parts, Edit::default(), &b""[..], None, &Limits::default()).expect("small")
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn a_body_of_any_length_comes_back_whole() {
    let body: Bytes = (0..5_000_000_u32).map(|number| (number >> 7) as u8).collect();
    let mut world = World::new();
    let (conversation, mut incoming) = world.converse(&body);
    let mut conversation = Box::pin(conversation);
    let mut read = Vec::new();
    let mut head = false;
    for _ in 0..10_000 {
        let done = conversation.as_mut().poll(&mut cx()).is_ready();
        world.go_on();
        if !head {
            head = matches!(incoming.poll_head(&cx()), Poll::Ready(Ok(response)) if !response.head.end);
            continue;
        }
        match Pin::new(&mut incoming).poll_frame(&mut cx()) {
            Poll::Ready(Some(frame)) => {
                read.extend_from_slice(&frame.expect("no error").into_data().expect("data"))
            }
            Poll::Ready(None) => {
                assert!(done || conversation.as_mut().poll(&mut cx()).is_ready());
                break;
            }
            Poll::Pending => assert!(!done),
        }
    }
    assert!(read == body, "{} bytes", read.len());
    assert!(incoming.is_end_stream());
    drop(conversation);
    assert_eq!((world.take(), world.endpoint.open_tokens()), (None, 0));
}

#[test]
fn a_reader_that_is_dropped_cancels() {
    let mut world = World::new();
    let (conversation, incoming) = world.converse(&Bytes::from(vec![1; 5_000_000]));
    let mut conversation = Box::pin(conversation);
    for _ in 0..5 {
        assert!(conversation.as_mut().poll(&mut cx()).is_pending());
        world.go_on();
    }
    drop(incoming);
    assert!(conversation.as_mut().poll(&mut cx()).is_ready());
    world.go_on();
    assert_eq!(world.resets, [ResetCode::Cancel]);
    assert!(world.echo.is_some_and(|echo| echo.is_ended()));
}

#[test]
fn a_conversation_that_is_dropped_breaks_the_body_off() {
    let mut world = World::new();
    let (conversation, incoming) = world.converse(&Bytes::from(vec![1; 5_000_000]));
    let mut conversation = Box::pin(conversation);
    for _ in 0..5 {
        assert!(conversation.as_mut().poll(&mut cx()).is_pending());
        world.go_on();
    }
    assert!(matches!(incoming.poll_head(&cx()), Poll::Ready(Ok(_))));
    drop(conversation);
    world.go_on();
    assert_eq!(world.resets, [ResetCode::Cancel]);
    let error = futures::executor::block_on(incoming.collect()).expect_err("it broke off");
    assert_eq!(error.kind(), BodyErrorKind::Reset);
}

#[test]
fn a_call_goes_on_as_a_conversation_if_its_response_does() {
    let mut world = World::new();
    let flow = Arc::new(FlowConfig::default());
    let call = Call::new(world.endpoint.clone(), "app".to_owned(), request(true), CallerConfig::default(), 1);
    let mut call = Box::pin(call.streaming(flow));
    assert!(call.as_mut().poll(&mut cx()).is_pending());
    world.go_on();
    let Poll::Ready(Ok(head)) = call.as_mut().poll(&mut cx()) else { panic!("no head") };
    assert!(!head.head.end);
    let (conversation, incoming) = call.as_mut().converse::<Whole>();
    let mut incoming = Body::streaming(incoming);
    drop(call);
    let mut conversation = Box::pin(conversation);
    for _ in 0..3 {
        let _ = conversation.as_mut().poll(&mut cx());
        world.go_on();
    }
    assert!(conversation.as_mut().poll(&mut cx()).is_ready());
    assert!(matches!(Pin::new(&mut incoming).poll_frame(&mut cx()), Poll::Ready(None)));
    assert!(world.resets.is_empty());
}

#[test]
fn a_request_whose_body_breaks_off_fails() {
    let mut world = World::new();
    let flow = Arc::new(FlowConfig::default());
    let machine = Caller::new(Time::ZERO, CallerConfig::default(), 1).with_body(Time::ZERO, 0, flow);
    let parts = futures::stream::iter([Err::<http_body::Frame<Bytes>, _>(Failure::new(
        FailureKind::RequestTimedOut,
    ))]);
    let (endpoint, registration) = (world.endpoint.clone(), world.endpoint.register());
    let body = Some(http_body_util::StreamBody::new(parts));
    let (conversation, incoming) =
        Conversation::new(endpoint, "app".to_owned(), request(false), machine, registration, body);
    let mut conversation = Box::pin(conversation);
    assert!(conversation.as_mut().poll(&mut cx()).is_pending());
    // The handler reads, and does not answer.
    world.responded = true;
    world.go_on();
    assert!(world.echo.as_mut().is_some_and(|echo| echo.poll_read().is_pending()));
    world.go_on();
    assert!(conversation.as_mut().poll(&mut cx()).is_ready());
    world.go_on();
    assert_eq!(world.resets, [ResetCode::Cancel]);
    let Poll::Ready(Err(failure)) = incoming.poll_head(&cx()) else { panic!("no failure") };
    assert_eq!(failure.kind(), FailureKind::RequestTimedOut);
}
