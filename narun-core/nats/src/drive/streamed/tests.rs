use std::convert::Infallible;
use std::task::Waker;

use http_body::Body as _;
use http_body_util::combinators::MapErr;
use http_body_util::{BodyExt, Full};

use super::*;
use crate::drive::Call;
use crate::inbox::ReplyPolicy;
use crate::link::memory::{Memory, Sent};
use narun_core::exchange::{Callee, CalleeConfig, CalleeTransmit, CallerConfig, FlowConfig};
use narun_core::fields::Edit;
use narun_core::frame::{Frame, RequestFrame, RequestHead, ResponseHead};
use narun_core::{Body, BodyErrorKind, ExchangeId, Limits, Time};

/// A request's body that does not break off.
type Whole = MapErr<Full<Bytes>, fn(Infallible) -> Failure>;

const CONSUMER: &str = "_INBOX.consumer.token";

/// An endpoint, and a consumer that answers with the request's body.
struct World {
    link: Memory,
    endpoint: Arc<Endpoint>,
    config: Arc<CalleeConfig>,
    echo: Option<Callee<Subject>>,
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
            config: Arc::default(),
            echo: None,
            responded: false,
            ended: false,
            resets: Vec::new(),
        }
    }

    /// An exchange whose request's body is sent in full after its head.
    fn exchange(&self, body: &Bytes) -> (StreamedExchange<Whole>, IncomingResponse) {
        let flow = Arc::new(FlowConfig::default());
        let machine = Caller::new(Time::ZERO, CallerConfig::default(), 1).with_body(Time::ZERO, 0, flow);
        let whole: fn(Infallible) -> Failure = |never| match never {};
        let (endpoint, body) = (self.endpoint.clone(), Some(Full::new(body.clone()).map_err(whole)));
        StreamedExchange::new(endpoint, Subject::from_static("app"), request(false), machine, body)
    }

    /// Delivers what was published, and lets the consumer go on.
    fn go_on(&mut self) {
        while let Some(Sent { to, reply, payload, .. }) = self.take() {
            if to.as_str() == "app" {
                let frame = RequestFrame::decode(&payload, &Limits::default()).expect("a request");
                let gateway = reply.expect("a token");
                let callee = Callee::new(Time::ZERO, &frame.head, gateway, 0, self.config.clone());
                self.echo = Some(match frame.head.end {
                    true => callee,
                    false => callee.with_body(Time::ZERO, None, frame.body),
                });
            } else {
                assert_eq!(to.as_str(), CONSUMER);
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
            let mut head = ResponseHead::new();
            head.end = false;
            let frame = head.encode(&parts, Edit::default(), &b""[..], None, &Limits::default());
            echo.respond_with_body(Time::ZERO, frame.expect("small"), 0);
        }
        loop {
            while echo.wants_data() && !self.ended {
                match echo.poll_read() {
                    Poll::Ready(Some(Ok(frame))) => echo.send(Time::ZERO, frame.into_data().expect("data")),
                    Poll::Ready(None) => {
                        self.ended = true;
                        echo.finish(Time::ZERO, None);
                    }
                    Poll::Pending | Poll::Ready(Some(Err(_))) => break,
                }
            }
            let Some(CalleeTransmit { to, payload, reply }) = echo.poll_transmit() else { break };
            self.endpoint.deliver(&to, payload, reply.then_some(Subject::from_static(CONSUMER)));
        }
    }

    fn take(&self) -> Option<Sent> {
        self.link.take()
    }
}

fn request(end: bool) -> Bytes {
    let parts = http::Request::new(()).into_parts().0;
    let mut head = RequestHead::new(ExchangeId::from_bytes([1; 16]));
    head.end = end;
    head.encode(&parts, Edit::default(), &b""[..], None, &Limits::default()).expect("small")
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[tokio::test(start_paused = true)]
async fn a_body_of_any_length_comes_back_whole() {
    let body: Bytes = (0..5_000_000_u32).map(|number| (number >> 7) as u8).collect();
    let mut world = World::new();
    let (exchange, mut incoming) = world.exchange(&body);
    let mut exchange = Box::pin(exchange);
    let mut read = Vec::new();
    let mut head = false;
    for _ in 0..10_000 {
        let done = exchange.as_mut().poll(&mut cx()).is_ready();
        world.go_on();
        if !head {
            head = matches!(incoming.poll_start(&cx()), Poll::Ready(Ok(response)) if !response.head.end);
            continue;
        }
        match Pin::new(&mut incoming).poll_frame(&mut cx()) {
            Poll::Ready(Some(frame)) => {
                read.extend_from_slice(&frame.expect("no error").into_data().expect("data"))
            }
            Poll::Ready(None) => {
                assert!(done || exchange.as_mut().poll(&mut cx()).is_ready());
                break;
            }
            Poll::Pending => assert!(!done),
        }
    }
    assert!(read == body, "{} bytes", read.len());
    assert!(incoming.is_end_stream());
    drop(exchange);
    assert_eq!((world.take(), world.endpoint.open_tokens()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_dropped_cancels() {
    let mut world = World::new();
    let (exchange, incoming) = world.exchange(&Bytes::from(vec![1; 5_000_000]));
    let mut exchange = Box::pin(exchange);
    for _ in 0..5 {
        assert!(exchange.as_mut().poll(&mut cx()).is_pending());
        world.go_on();
    }
    drop(incoming);
    assert!(exchange.as_mut().poll(&mut cx()).is_ready());
    world.go_on();
    assert_eq!(world.resets, [ResetCode::Cancel]);
    assert!(world.echo.is_some_and(|echo| echo.is_ended()));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_is_dropped_breaks_the_body_off() {
    let mut world = World::new();
    let (exchange, incoming) = world.exchange(&Bytes::from(vec![1; 5_000_000]));
    let mut exchange = Box::pin(exchange);
    for _ in 0..5 {
        assert!(exchange.as_mut().poll(&mut cx()).is_pending());
        world.go_on();
    }
    assert!(matches!(incoming.poll_start(&cx()), Poll::Ready(Ok(_))));
    drop(exchange);
    world.go_on();
    assert_eq!(world.resets, [ResetCode::Cancel]);
    let error = futures::executor::block_on(incoming.collect()).expect_err("it broke off");
    assert_eq!(error.kind(), BodyErrorKind::Reset);
}

#[tokio::test(start_paused = true)]
async fn a_call_continues_as_a_streamed_exchange_if_its_response_does() {
    let mut world = World::new();
    let flow = Arc::new(FlowConfig::default());
    let call = Call::new(
        world.endpoint.clone(),
        Subject::from_static("app"),
        request(true),
        CallerConfig::default(),
        1,
    );
    let mut call = Box::pin(call.streaming(flow));
    assert!(call.as_mut().poll(&mut cx()).is_pending());
    world.go_on();
    let Poll::Ready(Ok(head)) = call.as_mut().poll(&mut cx()) else { panic!("no head") };
    assert!(!head.head.end);
    let (exchange, incoming) = StreamedExchange::<Whole>::continue_call(call.as_mut());
    let mut incoming = Body::streaming(incoming);
    drop(call);
    let mut exchange = Box::pin(exchange);
    for _ in 0..3 {
        let _ = exchange.as_mut().poll(&mut cx());
        world.go_on();
    }
    assert!(exchange.as_mut().poll(&mut cx()).is_ready());
    assert!(matches!(Pin::new(&mut incoming).poll_frame(&mut cx()), Poll::Ready(None)));
    assert!(world.resets.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_body_breaks_off_fails() {
    let mut world = World::new();
    let flow = Arc::new(FlowConfig::default());
    let machine = Caller::new(Time::ZERO, CallerConfig::default(), 1).with_body(Time::ZERO, 0, flow);
    let parts = futures::stream::iter([Err::<http_body::Frame<Bytes>, _>(Failure::new(
        FailureKind::RequestTimedOut,
    ))]);
    let endpoint = world.endpoint.clone();
    let body = Some(http_body_util::StreamBody::new(parts));
    let (exchange, incoming) =
        StreamedExchange::new(endpoint, Subject::from_static("app"), request(false), machine, body);
    let mut exchange = Box::pin(exchange);
    assert!(exchange.as_mut().poll(&mut cx()).is_pending());
    // The handler reads, and does not answer.
    world.responded = true;
    world.go_on();
    assert!(world.echo.as_mut().is_some_and(|echo| echo.poll_read().is_pending()));
    world.go_on();
    assert!(exchange.as_mut().poll(&mut cx()).is_ready());
    world.go_on();
    assert_eq!(world.resets, [ResetCode::Cancel]);
    let Poll::Ready(Err(failure)) = incoming.poll_start(&cx()) else { panic!("no failure") };
    assert_eq!(failure.kind(), FailureKind::RequestTimedOut);
}
