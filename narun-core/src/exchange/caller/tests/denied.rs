//! Messages that NATS drops for want of a permission.

use super::*;

#[test]
fn a_denied_request_fails_unless_a_consumer_has_it() {
    let mut denied = caller(false);
    denied.handle_denied(&"app");
    assert_fails(&mut denied, FailureKind::NotPermitted);

    let mut running = caller(false);
    running.handle_frame(at(1), 0, working(), Some(CONSUMER));
    running.handle_denied(&"app");
    running.handle_denied(&CONSUMER);
    assert_open(&mut running);

    // A consumer that names no token has it, too.
    let mut running = caller(false);
    running.handle_frame(at(1), 0, working(), None);
    running.handle_denied(&"app");
    assert_open(&mut running);

    // It was refused, and the next attempt would be denied.
    let mut refused_once = caller(false);
    refused_once.handle_frame(at(1), 0, refused(Refusal::Overloaded), None);
    refused_once.handle_denied(&"app");
    assert_fails(&mut refused_once, FailureKind::NotPermitted);
}
