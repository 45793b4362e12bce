//! Messages that NATS drops for want of a permission.

use narun_core::frame::{Reset, VERSION, Working};

use super::*;

/// An endpoint, and how NATS reports that it has dropped a message to a subject.
fn denying() -> (Memory, Arc<Endpoint>, impl Fn(&str)) {
    let (link, endpoint) = endpoint();
    let events = crate::NatsEvents::new();
    events.listen(&endpoint);
    (link, endpoint, move |subject: &str| {
        let text = format!(r#"Permissions Violation for Publish to "{subject}""#);
        events.handle(&async_nats::Event::ServerError(async_nats::ServerError::Other(text)));
    })
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_permitted_fails_at_once() {
    let (link, endpoint, denied) = denying();
    let mut direct = pin!(call(&endpoint, CallerConfig::default()));
    let mut other = pin!(durable_call(&endpoint));
    assert!(direct.as_mut().now_or_never().is_none());
    assert!(other.accepted().now_or_never().is_none());
    denied("app");
    assert!(other.accepted().now_or_never().is_none());
    let failure = direct.now_or_never().expect("at once").expect_err("no permission");
    assert_eq!(failure.kind(), FailureKind::NotPermitted);
    denied("task.TASK.app");
    let failure = other.accepted().now_or_never().expect("at once").expect_err("no permission");
    assert_eq!(failure.kind(), FailureKind::NotPermitted);

    // Later ones are not even sent, until the permission may have been granted.
    while link.take().is_some() {}
    let failure = call(&endpoint, CallerConfig::default()).await.expect_err("no permission");
    assert_eq!((failure.kind(), link.take()), (FailureKind::NotPermitted, None));
    advance(seconds(1)).await;
    assert!(call(&endpoint, CallerConfig::default()).now_or_never().is_none());
    assert!(link.take().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_consumer_has_goes_on_when_others_are_denied() {
    let (link, endpoint, denied) = denying();
    let mut running = pin!(call(&endpoint, CallerConfig::default()));
    assert!(running.as_mut().now_or_never().is_none());
    let reply = link.take().and_then(|sent| sent.reply).expect("a token");
    let working = Working { version: VERSION, instance: None };
    endpoint.deliver(&reply, working.encode(), Some(CONSUMER));
    assert!(running.as_mut().now_or_never().is_none());
    denied("app");
    denied(&CONSUMER);
    assert!(running.as_mut().now_or_never().is_none());
    assert_eq!(link.take(), None, "no RESET");
    endpoint.deliver(&reply, response(true), Some(CONSUMER));
    assert!(running.now_or_never().expect("at once").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_streamed_response_goes_on_when_requests_are_denied() {
    let (link, endpoint, denied) = denying();
    let (exchange, _incoming, _) = responding(&link, &endpoint).await;
    let mut exchange = pin!(exchange);
    assert!(exchange.as_mut().now_or_never().is_none());
    denied("app");
    assert!(exchange.as_mut().now_or_never().is_none());
    // Without CREDIT, the rest of the body would never arrive.
    denied(&link.take().map_or(CONSUMER, |sent| sent.to));
    assert!(exchange.as_mut().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_denied_reset_changes_nothing() {
    let (link, endpoint, denied) = denying();
    let mut call = pin!(call(&endpoint, CallerConfig::default()));
    assert!(call.as_mut().now_or_never().is_none());
    let reply = link.take().and_then(|sent| sent.reply).expect("a token");
    // The attempt is over, and another one will follow. A late frame of its consumer is responded to with RESET.
    let draining = Reset { code: ResetCode::Draining, text: String::new(), ran: false };
    endpoint.deliver(&reply, draining.encode(), None);
    let working = Working { version: VERSION, instance: None };
    endpoint.deliver(&reply, working.encode(), Some(CONSUMER));
    assert!(call.as_mut().now_or_never().is_none());
    let reset = link.take().expect("a RESET");
    assert!(matches!(frame(&reset), Frame::Reset(_)));
    denied(&reset.to);
    assert!(call.as_mut().now_or_never().is_none());
}
