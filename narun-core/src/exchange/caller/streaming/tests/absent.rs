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

/// The consumer is absent for the DATA only, which is not noticed at once: the caller counts a CREDIT that arrived.
fn in_doubt() -> Caller<Subject> {
    let mut caller = uploading(CallerConfig::default());
    caller.handle_frame(at(10), 0, accept(100), Some(CONSUMER));
    caller.handle_frame(at(20), 0, Any::Probe, Some(CONSUMER));
    assert!(matches!(sent(&mut caller), (CONSUMER, Any::Credit(credit), Some(0)) if credit.sent == 0));
    caller.send(at(30), "last".into());
    caller.finish(at(30), None);
    assert_data(&mut caller, 1, b"last", true);
    caller.handle_no_responders(at(40), 0);
    assert!(!caller.is_ended());
    caller
}

#[test]
fn a_lost_part_that_a_stale_count_hides_is_a_gap_once_the_consumer_gets_credit() {
    let mut caller = in_doubt();
    caller.handle_timeout(at(540));
    assert_probes(&mut caller, &[false, true]);
    let gap = Reset { code: ResetCode::Gap, text: String::new(), ran: true };
    caller.handle_frame(at(541), 0, Any::Reset(gap), None);
    assert_fails(&mut caller, FailureKind::BadResponse);
}

#[test]
fn the_doubt_remains_although_the_consumer_is_heard_before_the_probe() {
    let mut caller = in_doubt();
    caller.handle_frame(at(100), 0, working(), Some(CONSUMER));
    caller.handle_timeout(at(540));
    assert_probes(&mut caller, &[false, true]);
    // The CREDIT was sent, so there is no doubt any more.
    caller.handle_frame(at(541), 0, credit(100, false, 0), Some(CONSUMER));
    let next = caller.poll_timeout().expect("open");
    caller.handle_timeout(next);
    assert_probes(&mut caller, &[true]);
}
