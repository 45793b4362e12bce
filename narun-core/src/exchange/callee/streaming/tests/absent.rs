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
