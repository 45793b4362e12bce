//! A gateway that no frame reaches.

use super::*;

/// A callee whose gateway has received the RESPONSE, and which has sent a DATA after it.
fn sending() -> Callee<Subject> {
    let mut callee = responding(0);
    callee.handle_frame(at(1), credit(100, false, 0), Some(GATEWAY));
    callee.send(at(2), "tick".into());
    assert!(matches!(sent(&mut callee), Frame::Data(_)));
    callee
}

#[test]
fn a_part_without_responders_is_a_gap_at_once() {
    let mut callee = sending();
    callee.handle_no_responders(at(3));
    assert_cancelled(&mut callee, Cancelled::Gone, Some(ResetCode::Gap));
}

#[test]
fn credit_without_responders_is_no_gap() {
    let mut callee = sending();
    callee.handle_frame(at(1000), Frame::Probe, Some(GATEWAY));
    assert!(matches!(sent(&mut callee), Frame::Credit(_)));
    callee.handle_no_responders(at(1001));
    assert!(!callee.is_ended());
    callee.handle_timeout(at(1251));
    assert!(matches!(sent(&mut callee), Frame::Credit(credit) if credit.sent == 1));
    assert!(matches!(sent(&mut callee), Frame::Probe));
    callee.handle_frame(at(1252), credit(100, false, 0), Some(GATEWAY));
    // The gateway has all that was sent before the PROBE: only the next DATA can meet "no responders".
    callee.send(at(1300), "tick".into());
    assert!(matches!(sent(&mut callee), Frame::Data(_)));
    callee.handle_no_responders(at(1301));
    assert_cancelled(&mut callee, Cancelled::Gone, Some(ResetCode::Gap));
}

/// The gateway is absent for the DATA only, which is not noticed at once: the callee counts a CREDIT that arrived.
fn in_doubt() -> Callee<Subject> {
    let mut callee = responding(0);
    callee.handle_frame(at(1), credit(100, false, 0), Some(GATEWAY));
    callee.handle_frame(at(2), Frame::Probe, Some(GATEWAY));
    assert!(matches!(sent(&mut callee), Frame::Credit(credit) if credit.sent == 0));
    callee.send(at(3), "tick".into());
    assert!(matches!(sent(&mut callee), Frame::Data(_)));
    callee.handle_no_responders(at(4));
    assert!(!callee.is_ended());
    callee
}

fn assert_asks_with_credit(callee: &mut Callee<Subject>) {
    assert!(matches!(sent(callee), Frame::Credit(credit) if credit.sent == 1));
    assert!(matches!(sent(callee), Frame::Probe));
    assert_eq!(callee.poll_transmit(), None);
}

#[test]
fn a_lost_part_that_a_stale_count_hides_is_a_gap_once_the_gateway_gets_credit() {
    let mut callee = in_doubt();
    callee.handle_timeout(at(254));
    assert_asks_with_credit(&mut callee);
    let gap = Reset { code: ResetCode::Gap, text: String::new(), ran: true };
    callee.handle_frame(at(255), Frame::Reset(gap), None);
    assert_cancelled(&mut callee, Cancelled::Broken, None);
}

#[test]
fn the_doubt_remains_although_the_gateway_is_heard_before_the_probe() {
    let mut callee = in_doubt();
    callee.handle_frame(at(100), Frame::Probe, Some(GATEWAY));
    assert!(matches!(sent(&mut callee), Frame::Credit(_)));
    callee.handle_timeout(at(254));
    assert_asks_with_credit(&mut callee);
}

#[test]
fn the_doubt_about_a_request_outlives_the_response() {
    let mut callee = accepted();
    callee.handle_no_responders(at(10));
    callee.handle_frame(at(100), Frame::Probe, Some(GATEWAY));
    while callee.poll_transmit().is_some() {}
    callee.respond_with_body(at(110), Bytes::from_static(b"response"), 0);
    while callee.poll_transmit().is_some() {}
    callee.handle_timeout(at(260));
    assert_eq!(callee.poll_transmit().map(|sent| sent.payload), Some(Bytes::from_static(b"response")));
    assert!(matches!(sent(&mut callee), Frame::Credit(_)));
    assert!(matches!(sent(&mut callee), Frame::Probe));
}
