//! A consumer that no frame reaches.

use super::*;

/// A caller that has sent a DATA after its REQUEST.
fn sending() -> Caller<Subject> {
    let mut caller = uploading(CallerConfig::default());
    caller.handle_frame(at(10), 0, accept(100), Some(CONSUMER));
    caller.send(at(10), "first".into());
    assert_data(&mut caller, 1, b"first", false);
    caller
}

fn assert_probes(caller: &mut Caller<Subject>, probes: &[bool]) {
    for is_probe in probes {
        match sent(caller) {
            (CONSUMER, Any::Probe, Some(0)) => assert!(is_probe),
            (CONSUMER, Any::Credit(credit), Some(0)) => assert!(!is_probe && credit.sent == 1),
            sent => panic!("{sent:?}"),
        }
    }
    assert_eq!(caller.poll_transmit(), None);
}

#[test]
fn a_part_without_responders_is_a_gap_at_once() {
    let mut caller = sending();
    caller.handle_no_responders(at(11), 0);
    assert_fails(&mut caller, FailureKind::ConsumerGone);
    assert_reset(&mut caller, CONSUMER, ResetCode::Gap);
}

#[test]
fn a_part_without_responders_is_a_gap_although_the_connection_was_just_restored() {
    let mut caller = sending();
    caller.handle_connection(at(20), ConnectionChange::Lost);
    caller.handle_connection(at(30), ConnectionChange::Restored);
    assert_probes(&mut caller, &[false, true]);
    caller.handle_frame(at(31), 0, credit(100, false, 0), Some(CONSUMER));
    caller.send(at(40), "second".into());
    assert_data(&mut caller, 2, b"second", false);
    caller.handle_no_responders(at(41), 0);
    assert_fails(&mut caller, FailureKind::ConsumerGone);
}

#[test]
fn a_probe_without_responders_is_no_gap() {
    let mut caller = sending();
    caller.handle_timeout(at(1010));
    assert_probes(&mut caller, &[true]);
    caller.handle_no_responders(at(1011), 0);
    // It may have been the DATA, too. No more of the body is sent before that is known.
    caller.send(at(1100), "second".into());
    assert_eq!(caller.poll_transmit(), None);
    for now in (1511..6000).step_by(500) {
        caller.handle_timeout(at(now));
        assert_probes(&mut caller, &[false, true]);
        caller.handle_no_responders(at(now), 0);
        caller.handle_no_responders(at(now), 0);
    }
    // The consumer was absent for 4.9 s. It has the first DATA, or the CREDIT would get RESET(gap).
    caller.handle_frame(at(6010), 0, credit(100, false, 0), Some(CONSUMER));
    assert_data(&mut caller, 2, b"second", false);
    caller.handle_frame(at(6020), 0, response(true, 0), None);
    assert!(matches!(caller.poll_event(), Some(CallerEvent::Response(_))));
}

#[test]
fn more_frames_without_responders_than_probes_are_a_gap() {
    let mut caller = sending();
    caller.handle_timeout(at(1010));
    assert_probes(&mut caller, &[true]);
    caller.handle_no_responders(at(1011), 0);
    caller.handle_no_responders(at(1011), 0);
    assert_fails(&mut caller, FailureKind::ConsumerGone);
    assert_reset(&mut caller, CONSUMER, ResetCode::Gap);
}

#[test]
fn a_lost_part_that_may_have_been_a_probe_is_a_gap_once_the_consumer_is_back() {
    let mut caller = sending();
    caller.handle_timeout(at(1010));
    assert_probes(&mut caller, &[true]);
    caller.handle_no_responders(at(1011), 0);
    caller.handle_timeout(at(1511));
    assert_probes(&mut caller, &[false, true]);
    let gap = Reset { code: ResetCode::Gap, text: String::new(), ran: true };
    caller.handle_frame(at(1512), 0, Any::Reset(gap), None);
    assert_fails(&mut caller, FailureKind::BadResponse);
}

#[test]
fn a_consumer_that_stays_absent_is_gone_after_the_grace() {
    let mut gone = downloading(flow());
    while gone.poll_transmit().is_some() {}
    for now in (1..5001).step_by(500) {
        gone.handle_no_responders(at(now), 0);
        assert!(!gone.is_ended());
        assert_eq!(gone.poll_timeout(), Some(at(now + 500)));
        gone.handle_timeout(at(now + 500));
        while gone.poll_transmit().is_some() {}
    }
    gone.handle_no_responders(at(5001), 0);
    assert_broken(&mut gone, BodyErrorKind::TimedOut);
}
