use std::sync::Arc;

use super::*;
use crate::exchange::ConnectionChange;
use crate::exchange::FlowConfig;
use crate::frame::{RequestHead, Reset};
use crate::{ExchangeId, Limits};

use crate::exchange::callee::{CalleeConfig, CalleeEvent};

mod absent;

type Subject = &'static str;

const GATEWAY: Subject = "gateway";
const WINDOW: u64 = 1000;

fn at(millis: u64) -> Time {
    Time::new(Duration::from_millis(millis))
}

fn config() -> Arc<CalleeConfig> {
    let flow = FlowConfig { window: WINDOW, ..FlowConfig::default() };
    Arc::new(CalleeConfig { instance: Some("me".to_owned()), flow, ..CalleeConfig::default() })
}

fn head(credit: u64) -> RequestHead {
    let head = RequestHead::new(ExchangeId::from_bytes([1; 16]));
    RequestHead { credit, head_timeout: Some(Duration::from_secs(15)), end: false, ..head }
}

/// A callee of a request whose body begins with "abc".
fn uploading() -> Callee<Subject> {
    let head = head(0);
    Callee::new(at(0), &head, GATEWAY, 77, config()).with_body(at(0), head.head_timeout, "abc".into())
}

/// The same callee after its handler has read past the inline bytes.
fn accepted() -> Callee<Subject> {
    let mut callee = uploading();
    assert_eq!(read(&mut callee), ("abc".to_owned(), Poll::Pending));
    assert!(matches!(sent(&mut callee), Frame::Accept(_)));
    callee
}

/// A callee that has responded to a whole request with "body" and more to follow.
fn responding(credit: u64) -> Callee<Subject> {
    let mut callee = Callee::new(at(0), &head(credit), GATEWAY, 77, config());
    callee.respond_with_body(at(0), Bytes::from_static(b"response"), 4);
    match callee.poll_transmit() {
        Some(CalleeTransmit { to: GATEWAY, payload, reply: true }) => assert_eq!(payload, "response"),
        transmit => panic!("{transmit:?}"),
    }
    callee
}

fn sent(callee: &mut Callee<Subject>) -> Frame {
    match callee.poll_transmit() {
        Some(CalleeTransmit { to: GATEWAY, payload, reply }) => {
            let frame = Frame::decode(&payload, &Limits::default()).expect("valid");
            assert_eq!(!reply, matches!(frame, Frame::Reset(_)));
            frame
        }
        transmit => panic!("{transmit:?}"),
    }
}

fn data(sequence: u64, body: &'static str, end: bool) -> Frame {
    Frame::Data(Data { sequence, body: body.into(), end, trailers: None })
}

fn credit(offset: u64, stop: bool, sent: u64) -> Frame {
    Frame::Credit(Credit { offset, stop, sent })
}

fn read(callee: &mut Callee<Subject>) -> (String, Poll<Result<(), BodyErrorKind>>) {
    let mut text = String::new();
    loop {
        match callee.poll_read() {
            Poll::Pending => return (text, Poll::Pending),
            Poll::Ready(None) => return (text, Poll::Ready(Ok(()))),
            Poll::Ready(Some(Err(kind))) => return (text, Poll::Ready(Err(kind))),
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().expect("no trailers");
                text.push_str(std::str::from_utf8(&data).expect("text"));
            }
        }
    }
}

#[track_caller]
fn assert_cancelled(callee: &mut Callee<Subject>, why: Cancelled, code: Option<ResetCode>) {
    assert_eq!(callee.poll_event(), Some(CalleeEvent::Cancelled(why)));
    assert!(callee.is_ended() && !callee.wants_data());
    assert_eq!(callee.poll_timeout(), None);
    if let Some(expected) = code {
        assert!(matches!(sent(callee), Frame::Reset(reset) if reset.code == expected));
    }
    assert_eq!(callee.poll_transmit(), None);
}

#[test]
fn accept_is_sent_when_the_handler_reads_past_the_inline_bytes() {
    let mut callee = uploading();
    assert_eq!(callee.poll_transmit(), None);
    assert!(callee.poll_read().is_ready());
    assert_eq!(callee.poll_transmit(), None);
    assert!(callee.poll_read().is_pending());
    match sent(&mut callee) {
        Frame::Accept(accept) => {
            assert_eq!((accept.credit, accept.max_payload), (3 + WINDOW, 77));
            assert_eq!(accept.instance.as_deref(), Some("me"));
        }
        frame => panic!("{frame:?}"),
    }
    assert_eq!(callee.poll_transmit(), None);
    callee.handle_frame(at(1), data(1, "def", false), Some(GATEWAY));
    callee.handle_frame(at(2), data(2, "ghi", true), Some(GATEWAY));
    assert_eq!(read(&mut callee), ("defghi".to_owned(), Poll::Ready(Ok(()))));
    assert_eq!(callee.poll_transmit(), None);
    callee.respond(at(0), Bytes::from_static(b"response"));
    assert!(callee.is_ended());
}

#[test]
fn credit_replaces_accept_after_the_response() {
    let mut callee = uploading();
    callee.respond_with_body(at(1), Bytes::from_static(b"response"), 0);
    assert!(callee.poll_transmit().is_some());
    assert_eq!(read(&mut callee), ("abc".to_owned(), Poll::Pending));
    assert!(matches!(sent(&mut callee), Frame::Credit(credit) if credit.offset == 3 + WINDOW));
}

#[test]
fn a_response_body_is_sent_as_far_as_there_is_credit() {
    let mut callee = responding(0);
    assert!(!callee.wants_data());
    assert_eq!(callee.poll_transmit(), None);
    callee.handle_frame(at(1), credit(10, false, 0), Some(GATEWAY));
    assert!(callee.wants_data());
    callee.send(at(0), "0123456789".into());
    assert!(matches!(sent(&mut callee), Frame::Data(data) if data.body == "012345" && data.sequence == 1));
    assert_eq!(callee.poll_transmit(), None);
    callee.finish(at(0), None);
    callee.handle_frame(at(2), credit(100, false, 0), Some(GATEWAY));
    assert!(!callee.is_ended());
    assert!(matches!(sent(&mut callee), Frame::Data(data) if data.body == "6789" && data.end));
    assert!(callee.is_ended());
    assert_eq!((callee.poll_transmit(), callee.poll_timeout()), (None, None));
}

#[test]
fn credit_in_the_request_lets_the_response_body_start_at_once() {
    let mut callee = responding(100);
    assert!(callee.wants_data());
    callee.send(at(0), "tick".into());
    assert!(matches!(sent(&mut callee), Frame::Data(data) if data.body == "tick"));
}

#[test]
fn the_end_of_the_response_ends_the_request() {
    let mut callee = accepted();
    callee.respond_with_body(at(1), Bytes::from_static(b"response"), 0);
    assert!(callee.poll_transmit().is_some());
    callee.handle_frame(at(2), data(1, "def", false), Some(GATEWAY));
    callee.finish(at(0), None);
    assert!(matches!(sent(&mut callee), Frame::Data(data) if data.end));
    assert!(callee.is_ended() && callee.poll_event().is_none());
    assert_eq!(read(&mut callee), (String::new(), Poll::Ready(Err(BodyErrorKind::Reset))));
}

#[test]
fn a_body_that_is_not_read_is_stopped_only_if_it_was_asked_for() {
    let mut unasked = uploading();
    unasked.stop();
    assert_eq!(unasked.poll_transmit(), None);
    let mut callee = accepted();
    callee.stop();
    assert!(matches!(sent(&mut callee), Frame::Credit(credit) if credit.stop));
    callee.handle_frame(at(1), data(1, "def", false), Some(GATEWAY));
    assert_eq!(callee.queued(), 0);
    // In case that frame is lost, the response to a PROBE repeats it.
    callee.handle_frame(at(2), Frame::Probe, Some(GATEWAY));
    assert!(matches!(sent(&mut callee), Frame::Credit(credit) if credit.stop));
    assert!(!callee.is_ended());
}

#[test]
fn a_stopped_response_cancels_the_handler() {
    let mut callee = responding(100);
    callee.handle_frame(at(1), credit(0, true, 0), Some(GATEWAY));
    assert_cancelled(&mut callee, Cancelled::ByCaller, None);
}

#[test]
fn missing_or_excess_data_cancels_the_handler() {
    for (frame, code) in [
        (data(2, "x", false), ResetCode::Gap),
        (credit(0, false, 1), ResetCode::Gap),
        (data(1, "x", true), ResetCode::Flow),
    ] {
        let mut callee = accepted();
        if code == ResetCode::Flow {
            callee.handle_frame(at(1), frame, Some(GATEWAY));
            assert!(!callee.is_ended());
            callee.handle_frame(at(1), data(2, "x", false), Some(GATEWAY));
        } else {
            callee.handle_frame(at(1), frame, Some(GATEWAY));
        }
        assert_cancelled(&mut callee, Cancelled::Broken, Some(code));
    }
    let mut malformed = accepted();
    malformed.handle_malformed(at(0));
    assert_cancelled(&mut malformed, Cancelled::Broken, Some(ResetCode::Internal));
    assert_eq!(read(&mut malformed), (String::new(), Poll::Ready(Err(BodyErrorKind::Gap))));
}

#[test]
fn a_reset_breaks_the_request_body_off() {
    let mut callee = accepted();
    callee.handle_frame(at(1), data(1, "def", false), Some(GATEWAY));
    let cancel = Reset { code: ResetCode::Cancel, text: String::new(), ran: true };
    callee.handle_frame(at(2), Frame::Reset(cancel), None);
    assert_cancelled(&mut callee, Cancelled::ByCaller, None);
    assert_eq!(read(&mut callee), (String::new(), Poll::Ready(Err(BodyErrorKind::Reset))));
}

#[test]
fn progress_of_the_request_body_restarts_the_head_timeout() {
    let mut callee = accepted();
    assert_eq!(callee.deadline(), Some(at(15_000)));
    callee.handle_frame(at(14_000), data(1, "def", false), Some(GATEWAY));
    assert_eq!(callee.deadline(), Some(at(29_000)));
    callee.handle_frame(at(20_000), data(1, "def", false), Some(GATEWAY));
    assert_eq!(callee.deadline(), Some(at(29_000)), "it was received before");
    callee.respond_with_body(at(21_000), Bytes::from_static(b"response"), 0);
    assert_eq!(callee.deadline(), None);
    callee.handle_frame(at(22_000), data(2, "ghi", false), Some(GATEWAY));
    assert_eq!(callee.deadline(), None);
}

#[test]
fn a_client_that_is_late_is_not_a_handler_that_is() {
    let mut waiting = accepted();
    waiting.handle_timeout(at(15_000));
    assert_cancelled(&mut waiting, Cancelled::ByCaller, Some(ResetCode::Deadline));

    let mut unread = uploading();
    unread.handle_timeout(at(15_000));
    assert_cancelled(&mut unread, Cancelled::Deadline, Some(ResetCode::Deadline));

    let mut whole = accepted();
    whole.handle_frame(at(1), data(1, "d", true), Some(GATEWAY));
    whole.handle_timeout(at(16_000));
    assert_cancelled(&mut whole, Cancelled::Deadline, Some(ResetCode::Deadline));
}

#[test]
fn a_waiting_callee_sends_probes_and_gives_up_after_30_s() {
    for mut callee in [accepted(), responding(0)] {
        while callee.poll_transmit().is_some() {}
        let mut asked = Vec::new();
        loop {
            let now = callee.poll_timeout().expect("a probe is due");
            callee.deadline = None;
            callee.handle_timeout(now);
            if callee.is_ended() {
                assert_eq!(now, at(30_000));
                break;
            }
            while let Some(CalleeTransmit { payload, .. }) = callee.poll_transmit() {
                if payload == encode_probe() {
                    asked.push(now.since_origin().as_secs());
                }
            }
        }
        assert_eq!(asked, [1, 3, 7, 15, 25]);
        assert_cancelled(&mut callee, Cancelled::Idle, Some(ResetCode::Idle));
    }
}

#[test]
fn a_quiet_response_sends_no_probes_while_the_gateway_does() {
    let mut callee = responding(100);
    let mut now = at(0);
    while now < at(120_000) {
        now = callee.poll_timeout().expect("it looks").min(now + Duration::from_secs(10));
        callee.handle_timeout(now);
        assert_eq!(callee.poll_transmit(), None);
        callee.handle_frame(now, Frame::Probe, Some(GATEWAY));
        assert!(matches!(sent(&mut callee), Frame::Credit(_)));
    }
    let last = now;
    while !callee.is_ended() {
        now = callee.poll_timeout().expect("it looks");
        callee.handle_timeout(now);
        if let Some(CalleeTransmit { payload, .. }) = callee.poll_transmit()
            && payload == encode_probe()
        {
            assert!(now >= last + QUIET);
        }
    }
    assert_eq!(now, last + Duration::from_secs(30));
}

#[test]
fn a_gateway_without_responders_after_the_head_is_gone_after_the_grace() {
    let mut callee = responding(100);
    callee.send(at(0), "tick".into());
    assert!(matches!(sent(&mut callee), Frame::Data(_)));
    for due in (0..5000).step_by(250) {
        callee.handle_no_responders(at(due));
        assert_eq!(callee.poll_event(), None);
        callee.handle_timeout(at(due + 250));
        while callee.poll_transmit().is_some() {}
    }
    callee.handle_no_responders(at(5000));
    assert_cancelled(&mut callee, Cancelled::Gone, None);

    let mut back = responding(100);
    back.handle_no_responders(at(0));
    back.handle_timeout(at(250));
    // The RESPONSE may have been lost, and so may DATA.
    assert!(
        matches!(back.poll_transmit(), Some(CalleeTransmit { payload, .. }) if payload[..] == *b"response")
    );
    assert!(matches!(sent(&mut back), Frame::Credit(credit) if credit.sent == 0));
    assert!(matches!(sent(&mut back), Frame::Probe));
    back.send(at(250), "tick".into());
    assert_eq!(back.poll_transmit(), None);
    back.handle_frame(at(251), credit(100, false, 0), Some(GATEWAY));
    // The gateway has the RESPONSE.
    assert!(matches!(sent(&mut back), Frame::Data(_)));
    back.handle_no_responders(at(5000));
    assert!(!back.is_ended());
    back.handle_timeout(at(5250));
    assert!(matches!(sent(&mut back), Frame::Credit(credit) if credit.sent == 1));
    assert!(matches!(sent(&mut back), Frame::Probe));
}

#[test]
fn a_probe_is_sent_when_the_connection_is_restored() {
    let mut callee = accepted();
    callee.handle_connection(at(1), ConnectionChange::Lost);
    assert_eq!(callee.poll_transmit(), None);
    callee.handle_connection(at(2), ConnectionChange::Restored);
    assert!(matches!(sent(&mut callee), Frame::Working(_)));
    assert!(matches!(sent(&mut callee), Frame::Credit(credit) if credit.offset > 0));
    assert!(matches!(sent(&mut callee), Frame::Probe));
    let mut whole = Callee::new(at(0), &head(0), GATEWAY, 77, config());
    whole.handle_connection(at(2), ConnectionChange::Restored);
    assert_eq!(whole.poll_transmit(), None);
}

#[test]
fn the_response_to_a_probe_states_how_much_was_sent() {
    let mut callee = responding(100);
    for _ in 0..3 {
        callee.send(at(0), "tick".into());
        sent(&mut callee);
    }
    callee.handle_frame(at(1), Frame::Probe, Some(GATEWAY));
    assert!(matches!(sent(&mut callee), Frame::Credit(credit) if credit.sent == 3));
}

#[test]
fn exchanges_of_one_frame_each_way_allocate_no_bodies() {
    let mut callee = Callee::new(at(0), &head(0), GATEWAY, 77, config());
    callee.respond(at(0), Bytes::from_static(b"response"));
    assert!(callee.poll_transmit().is_some() && callee.bodies.is_none());
    assert!(size_of::<Callee<Subject>>() <= 320, "{}", size_of::<Callee<Subject>>());
}
