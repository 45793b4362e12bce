//! Plays a script of bytes to both sides of an exchange: any frames, in any order, at any time.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use narun_core::exchange::{
    Budget, Callee, CalleeConfig, CalleeEvent, Caller, CallerConfig, CallerEvent, CallerTransmit,
    ConnectionChange, FlowConfig,
};
use narun_core::fields::Edit;
use narun_core::frame::{
    Accept, Credit, Data, DecodeError, Frame, Refusal, Refused, RequestHead, Reset, ResetCode, ResponseHead,
    Working, encode_probe,
};
use narun_core::{ExchangeId, Limits, Time};

/// The attempts that scripts name.
const ATTEMPTS: u8 = 6;

/// The largest number of attempts: the first, three after refusals, one after silence, one after a lost connection, and
/// those after the connection was restored.
const MOST_ATTEMPTS: u8 = 6 + 32;

/// The window of streamed bodies, and the inline bytes that may be queued in addition.
const WINDOW: usize = 64;
const INLINE: usize = 8;

fn flow() -> FlowConfig {
    let mut flow = FlowConfig::default();
    flow.window = WINDOW as u64;
    flow.frame = 100;
    flow.budget = Arc::new(Budget::new(100));
    flow
}

/// Returns a part of a body, whose length a byte chooses.
fn part(choice: u8) -> Bytes {
    Bytes::from(vec![choice; usize::from(choice) % 40])
}

/// Plays a script to both sides of an exchange.
pub(crate) fn play(script: &[u8]) {
    play_caller(script);
    play_callee(script);
}

/// Asserts that the gateway's side ends in time, with at most one event and no more requests than allowed.
fn play_caller(mut script: &[u8]) {
    let byte = |script: &mut &[u8]| if script.has_remaining() { script.get_u8() } else { 0 };
    let mode = byte(&mut script);
    let head_timeout = Duration::from_secs(u64::from(byte(&mut script)) + 1);
    // Without a total timeout, a streamed response may go on for ever, and a request's body may put the deadline off.
    let total_timeout = (mode & 6 != 0).then_some(head_timeout * 2);
    let mut config = CallerConfig::default();
    config.idempotent = mode & 1 == 1;
    (config.head_timeout, config.total_timeout) = (head_timeout, total_timeout);
    let end = Time::ZERO + total_timeout.unwrap_or(head_timeout);
    let mut now = Time::ZERO;
    let flow = Arc::new(flow());
    let mut caller = Caller::<u8>::new(now, config, u64::from(byte(&mut script)));
    if mode & 2 != 0 {
        caller = caller.streaming(flow.clone());
    }
    if mode & 4 != 0 {
        caller = caller.with_body(now, 3, flow.clone());
    }
    let mut seen = Seen::default();
    while script.has_remaining() {
        let attempt = byte(&mut script) % (ATTEMPTS + 1);
        match byte(&mut script) % 12 {
            0 => now = now + Duration::from_millis(u64::from(byte(&mut script)) * 50),
            1 => now = caller.poll_timeout().map_or(now, |at| at.max(now)),
            2 => caller.handle_no_responders(now, attempt),
            3 => caller.handle_malformed(now, attempt, &DecodeError::Malformed("scripted"), None),
            4 => caller.handle_connection(now, ConnectionChange::Lost),
            5 => caller.handle_connection(now, ConnectionChange::Restored),
            6 if caller.wants_data() => caller.send(now, part(byte(&mut script))),
            7 if byte(&mut script) < 16 => caller.finish(now, None),
            8 => seen.read(&caller.poll_read()),
            9 if byte(&mut script) == 0 => {
                caller.abort(ResetCode::TooLarge, "scripted");
                seen.aborted = true;
            }
            _ => {
                let reply = Some(byte(&mut script) % 3).filter(|reply| *reply > 0);
                caller.handle_frame(now, attempt, frame(byte(&mut script)), reply);
            }
        }
        caller.handle_timeout(now);
        seen.drain(&mut caller);
        assert!(caller.is_ended() || caller.poll_timeout().is_some_and(|at| at > now && at <= end));
        assert!(caller.queued() <= WINDOW + INLINE);
        assert!(!caller.wants_data() || !caller.is_sent());
    }
    caller.handle_timeout(end);
    seen.drain(&mut caller);
    assert!(caller.is_ended() && !caller.wants_data() && caller.is_sent());
    assert!(seen.events == 1 || (seen.aborted && seen.events == 0));
    assert!(seen.requests <= MOST_ATTEMPTS, "{} requests", seen.requests);
    caller.cancel();
    assert_eq!(caller.poll_transmit(), None);
    drop(caller);
    assert_eq!(flow.budget.used(), 0);
}

#[derive(Default)]
struct Seen {
    requests: u8,
    events: u8,
    aborted: bool,
    /// Whether a body has ended, complete or not.
    read: bool,
}

impl Seen {
    /// Asserts that nothing follows the end of a body, and that only an error follows an error.
    fn read<T, E>(&mut self, part: &Poll<Option<Result<T, E>>>) {
        match part {
            Poll::Pending => assert!(!self.read),
            Poll::Ready(Some(Ok(_))) => assert!(!self.read),
            Poll::Ready(Some(Err(_)) | None) => self.read = true,
        }
    }

    fn drain(&mut self, caller: &mut Caller<u8>) {
        while let Some(transmit) = caller.poll_transmit() {
            match transmit {
                CallerTransmit::Request { attempt } => {
                    assert_eq!(attempt, self.requests);
                    self.requests += 1;
                }
                CallerTransmit::Frame { payload, .. } => {
                    Frame::decode(&payload, &Limits::default()).expect("own frames are valid");
                }
            }
        }
        if let Some(CallerEvent::Response(_) | CallerEvent::Failed(_)) = caller.poll_event() {
            self.events += 1;
        }
    }
}

/// Asserts that the consumer's side is cancelled at most once, and publishes nothing after its end.
fn play_callee(mut script: &[u8]) {
    let byte = |script: &mut &[u8]| if script.has_remaining() { script.get_u8() } else { 0 };
    let mode = byte(&mut script);
    let mut head = RequestHead::new(ExchangeId::from_bytes([0; 16]));
    head.head_timeout = Some(Duration::from_secs(u64::from(mode) + 1));
    head.credit = u64::from(byte(&mut script));
    let mut config = CalleeConfig::default();
    config.flow = flow();
    let config = Arc::new(config);
    let mut now = Time::ZERO;
    let mut callee = Callee::<u8>::new(now, &head, 1, 0, config.clone());
    if mode & 1 == 1 {
        callee = callee.with_body(now, head.head_timeout, Bytes::from_static(&[0; INLINE]));
    }
    let (mut cancelled, mut seen) = (0, Seen::default());
    while script.has_remaining() {
        match byte(&mut script) % 12 {
            0 => now = now + Duration::from_millis(u64::from(byte(&mut script)) * 50),
            1 => callee.handle_no_responders(now),
            2 if byte(&mut script) == 0 => callee.respond(now, Bytes::from_static(b"response")),
            3 if byte(&mut script) == 0 => callee.abort(ResetCode::TooLarge, "scripted", true),
            4 if byte(&mut script) < 64 => {
                callee.respond_with_body(now, Bytes::from_static(b"response"), 4);
            }
            5 if callee.wants_data() => callee.send(now, part(byte(&mut script))),
            6 if byte(&mut script) < 16 => callee.finish(now, None),
            7 => seen.read(&callee.poll_read()),
            8 if byte(&mut script) < 16 => {
                callee.stop();
                seen = Seen::default();
            }
            9 => callee.handle_connection(now, ConnectionChange::Restored),
            10 if byte(&mut script) == 0 => callee.handle_malformed(now),
            _ => {
                let reply = Some(byte(&mut script) % 3).filter(|reply| *reply > 0);
                let ended = callee.is_ended();
                callee.handle_frame(now, frame(byte(&mut script)), reply);
                assert!(!ended || callee.poll_transmit().is_none());
            }
        }
        callee.handle_timeout(now);
        while callee.poll_transmit().is_some() {}
        if let Some(CalleeEvent::Cancelled(_)) = callee.poll_event() {
            cancelled += 1;
        }
        assert!(callee.is_ended() || callee.poll_timeout().is_some_and(|at| at > now));
        assert!(callee.queued() <= WINDOW + INLINE);
    }
    // By now the exchange has ended by its deadline, or because no frame of the gateway arrived.
    callee.handle_timeout(now + Duration::from_secs(600));
    assert!(callee.is_ended());
    assert!(cancelled <= 1);
    drop(callee);
    assert_eq!(config.flow.budget.used(), 0);
}

/// Returns a frame that a byte chooses, of any kind.
fn frame(choice: u8) -> Frame {
    let limits = Limits::default();
    let version = narun_core::frame::VERSION;
    let codes =
        [ResetCode::Cancel, ResetCode::Gone, ResetCode::Deadline, ResetCode::Draining, ResetCode::TooLarge];
    let reasons =
        [Refusal::Overloaded, Refusal::Draining, Refusal::Version, Refusal::BadFrame, Refusal::Other(77)];
    let variant = usize::from(choice / 9) % 5;
    let payload = match choice % 9 {
        0 => {
            let parts = Request::new(()).into_parts().0;
            RequestHead::new(ExchangeId::from_bytes([0; 16]))
                .encode(&parts, Edit::default(), &b""[..], None, &limits)
                .expect("small")
        }
        1 => {
            let parts = Response::new(()).into_parts().0;
            let mut head = ResponseHead::new();
            head.end = choice < 128;
            head.encode(&parts, Edit::default(), &b"body"[..], None, &limits).expect("small")
        }
        2 => Accept { version, instance: None, max_payload: 0, credit: u64::from(choice) }.encode(),
        3 => Data {
            sequence: u64::from(choice / 9 % 6) + 1,
            body: part(choice),
            end: choice > 200,
            trailers: None,
        }
        .encode(),
        4 => Credit { offset: u64::from(choice), stop: choice > 128, sent: u64::from(choice % 4) }.encode(),
        5 => Reset { code: codes[variant], text: "scripted".to_owned(), ran: choice > 128 }.encode(),
        6 => encode_probe(),
        7 => Working { version, instance: None }.encode(),
        _ => Refused { reason: reasons[variant], retry_after: None, versions: vec![version] }.encode(),
    };
    Frame::decode(&payload, &limits).expect("own frames are valid")
}
