use super::*;
use crate::{ExchangeId, Limits};

type Subject = &'static str;

const GATEWAY: Subject = "gateway";

fn at(millis: u64) -> Time {
    Time::new(Duration::from_millis(millis))
}

fn head(head: Option<u64>, total: Option<u64>) -> RequestHead {
    RequestHead {
        head_timeout: head.map(Duration::from_millis),
        total_timeout: total.map(Duration::from_millis),
        ..RequestHead::new(ExchangeId::from_bytes([1; 16]))
    }
}

fn callee(head_timeout: Option<u64>) -> Callee<Subject> {
    Callee::new(at(0), &head(head_timeout, None), GATEWAY, 0, Arc::default())
}

fn sent(callee: &mut Callee<Subject>) -> (Subject, Frame, bool) {
    match callee.poll_transmit() {
        Some(CalleeTransmit { to, payload, reply }) => {
            (to, Frame::decode(&payload, &Limits::default()).expect("valid"), reply)
        }
        transmit => panic!("{transmit:?}"),
    }
}

fn reset_frame(code: ResetCode) -> Frame {
    Frame::Reset(Reset { code, text: String::new(), ran: true })
}

#[test]
fn working_is_sent_after_250_ms_and_then_every_5_s() {
    let config = CalleeConfig { instance: Some("me".to_owned()), ..CalleeConfig::default() };
    let mut callee = Callee::new(at(0), &head(None, None), GATEWAY, 0, Arc::new(config));
    for due in [250, 5250, 10_250] {
        assert_eq!(callee.poll_timeout(), Some(at(due)));
        callee.handle_timeout(at(due - 1));
        assert_eq!(callee.poll_transmit(), None);
        callee.handle_timeout(at(due));
        match sent(&mut callee) {
            (GATEWAY, Frame::Working(working), true) => {
                assert_eq!(working.instance.as_deref(), Some("me"))
            }
            sent => panic!("{sent:?}"),
        }
    }
}

#[test]
fn the_shorter_timeout_sets_the_deadline_from_receipt() {
    for (budgets, deadline) in [
        ((None, None), None),
        ((Some(10), None), Some(at(15))),
        ((None, Some(20)), Some(at(25))),
        ((Some(10), Some(20)), Some(at(15))),
        ((Some(30), Some(20)), Some(at(25))),
    ] {
        let callee = Callee::new(at(5), &head(budgets.0, budgets.1), GATEWAY, 0, Arc::default());
        assert_eq!(callee.deadline(), deadline);
    }
}

#[test]
fn the_deadline_cancels_the_handler_and_resets_the_gateway() {
    let mut callee = callee(Some(100));
    assert_eq!(callee.poll_timeout(), Some(at(100)));
    callee.handle_timeout(at(100));
    assert_eq!(callee.poll_event(), Some(CalleeEvent::Cancelled(Cancelled::Deadline)));
    assert!(
        matches!(sent(&mut callee), (GATEWAY, Frame::Reset(reset), false) if reset.code == ResetCode::Deadline)
    );
    assert_eq!(callee.poll_timeout(), None);
}

#[test]
fn a_reset_cancels_the_handler_and_gets_no_response() {
    for (code, why) in [
        (ResetCode::Cancel, Cancelled::ByCaller),
        (ResetCode::Gone, Cancelled::Gone),
        (ResetCode::Deadline, Cancelled::Deadline),
        (ResetCode::Internal, Cancelled::ByCaller),
    ] {
        let mut callee = callee(None);
        callee.handle_frame(at(1), reset_frame(code), None);
        assert_eq!(callee.poll_event(), Some(CalleeEvent::Cancelled(why)));
        assert_eq!(callee.poll_transmit(), None);
    }
}

#[test]
fn a_gateway_whose_process_is_gone_cancels_the_handler() {
    let mut callee = callee(None);
    // WORKING is sent again every 250 ms, until the grace is over.
    for due in (250..5500).step_by(250) {
        assert_eq!(callee.poll_timeout(), Some(at(due)));
        callee.handle_timeout(at(due));
        assert!(matches!(sent(&mut callee), (GATEWAY, Frame::Working(_), true)));
        assert_eq!(callee.poll_event(), None);
        callee.handle_no_responders(at(due));
    }
    assert_eq!(callee.poll_event(), Some(CalleeEvent::Cancelled(Cancelled::Gone)));
}

#[test]
fn a_gateway_that_is_back_in_time_is_not_gone() {
    let mut callee = callee(None);
    callee.handle_timeout(at(250));
    callee.handle_no_responders(at(251));
    callee.handle_timeout(at(501));
    // This frame is received, and so is the next; from then on the usual interval counts.
    callee.handle_timeout(at(751));
    assert_eq!(callee.poll_timeout(), Some(at(5751)));
    callee.handle_timeout(at(5751));
    callee.handle_no_responders(at(5752));
    assert_eq!(callee.poll_event(), None);
    assert_eq!(callee.poll_timeout(), Some(at(6002)));
}

#[test]
fn a_probe_of_the_gateway_gets_credit_and_another_sender_is_reset() {
    let mut callee = callee(None);
    callee.handle_frame(at(1), Frame::Probe, Some(GATEWAY));
    assert!(matches!(sent(&mut callee), (GATEWAY, Frame::Credit(_), true)));
    callee.handle_frame(at(1), Frame::Probe, Some("other"));
    assert!(
        matches!(sent(&mut callee), ("other", Frame::Reset(reset), false) if reset.code == ResetCode::Gone)
    );
    callee.handle_frame(at(1), Frame::Probe, None);
    assert_eq!(callee.poll_transmit(), None);
}

#[test]
fn a_response_or_an_abort_ends_the_exchange() {
    let mut responded = callee(Some(100));
    responded.respond(at(0), Bytes::from_static(b"frame"));
    let mut aborted = callee(Some(100));
    aborted.abort(ResetCode::TooLarge, "over 5 bytes", true);
    assert!(matches!(responded.poll_transmit(), Some(CalleeTransmit { to: GATEWAY, reply: false, .. })));
    assert!(
        matches!(sent(&mut aborted), (GATEWAY, Frame::Reset(reset), false) if reset.text == "over 5 bytes")
    );
    for mut ended in [responded, aborted] {
        assert!(ended.is_ended());
        assert_eq!(ended.poll_timeout(), None);
        ended.handle_frame(at(1000), reset_frame(ResetCode::Cancel), None);
        ended.handle_no_responders(at(1000));
        ended.handle_timeout(at(1000));
        ended.respond(at(0), Bytes::new());
        ended.abort(ResetCode::Internal, "", true);
        assert_eq!(ended.poll_event(), None);
        assert_eq!(ended.poll_transmit(), None);
    }
}

fn respond(callee: &mut Callee<Subject>, now: u64) {
    let parts = http::Response::new(()).into_parts().0;
    let head = crate::frame::ResponseHead::new();
    let frame = head.encode(&parts, crate::fields::Edit::default(), &b""[..], None, &Limits::default());
    callee.respond(at(now), frame.expect("small"));
}

#[test]
fn a_response_made_while_the_connection_is_lost_is_sent_until_the_gateway_has_it() {
    let mut callee = callee(None);
    callee.handle_connection(at(100), ConnectionChange::Lost);
    callee.handle_timeout(at(300));
    respond(&mut callee, 400);
    assert_eq!(callee.poll_transmit(), None);
    assert!(!callee.is_ended());
    callee.handle_connection(at(2000), ConnectionChange::Restored);
    while callee.poll_transmit().is_some() {}
    // The gateway is connected again later than this side.
    for due in (2000..4000).step_by(250) {
        callee.handle_no_responders(at(due));
        assert_eq!(callee.poll_event(), None);
        callee.handle_timeout(at(due + 250));
        assert!(matches!(sent(&mut callee), (GATEWAY, Frame::Response(_), true)));
        assert!(matches!(sent(&mut callee), (GATEWAY, Frame::Probe, true)));
        assert_eq!(callee.poll_transmit(), None);
    }
    callee.handle_frame(at(4001), reset_frame(ResetCode::Gone), None);
    assert!(callee.is_ended());
    assert_eq!((callee.poll_event(), callee.poll_transmit()), (None, None));
}

#[test]
fn a_response_that_nobody_confirms_is_given_up() {
    let mut callee = callee(None);
    callee.handle_connection(at(0), ConnectionChange::Lost);
    callee.handle_connection(at(0), ConnectionChange::Restored);
    respond(&mut callee, 0);
    while let Some(now) = callee.poll_timeout() {
        assert!(now <= at(6000));
        callee.handle_timeout(now);
    }
    callee.abort(ResetCode::Draining, "", true);
    while let Some(transmit) = callee.poll_transmit() {
        assert!(!matches!(
            Frame::decode(&transmit.payload, &Limits::default()).expect("valid"),
            Frame::Reset(_)
        ));
    }
}

#[test]
fn working_waits_for_the_connection() {
    let mut callee = callee(None);
    callee.handle_connection(at(100), ConnectionChange::Lost);
    for _ in 0..5 {
        let now = callee.poll_timeout().expect("open");
        callee.handle_timeout(now);
        assert_eq!(callee.poll_transmit(), None);
    }
    callee.handle_connection(at(30_000), ConnectionChange::Restored);
    assert!(callee.poll_timeout() <= Some(at(30_000)));
    callee.handle_timeout(at(30_000));
    assert!(matches!(sent(&mut callee), (GATEWAY, Frame::Working(_), true)));
    // "no responders" means nothing yet.
    callee.handle_no_responders(at(34_999));
    assert_eq!(callee.poll_event(), None);
}
