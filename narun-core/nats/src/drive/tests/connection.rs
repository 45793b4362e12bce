//! A connection that is lost and restored.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_call_whose_connection_is_lost_fails_after_the_grace() {
    let (_link, endpoint) = endpoint();
    let mut call = pin!(call(&endpoint, CallerConfig::default()));
    assert!(call.as_mut().now_or_never().is_none());
    endpoint.deliver_connection(ConnectionChange::Lost, u64::MAX);
    let started = Instant::now();
    let failure = call.await.expect_err("no connection");
    assert_eq!((failure.kind(), started.elapsed()), (FailureKind::ConnectionLost, seconds(5)));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_sent_out_of_date() {
    let (link, endpoint) = endpoint();
    link.set_connected(false);
    let mut given_up = Box::pin(call(&endpoint, CallerConfig::default()));
    assert!(given_up.as_mut().now_or_never().is_none());
    let mut waiting = pin!(call(&endpoint, CallerConfig::default()));
    assert!(waiting.as_mut().now_or_never().is_none());
    assert_eq!(link.take(), None);
    drop(given_up);
    link.set_connected(true);
    endpoint.deliver_connection(ConnectionChange::Restored, u64::MAX);
    assert!(waiting.as_mut().now_or_never().is_none());
    let sent = link.take().expect("the request");
    assert_eq!((sent.to.as_str(), link.take()), ("app", None));
}

#[tokio::test(start_paused = true)]
async fn a_call_made_after_the_connection_was_restored_waits_for_consumers() {
    let (link, endpoint) = endpoint();
    link.set_connected(false);
    advance(seconds(1)).await;
    link.set_connected(true);
    // Known before the exchanges are notified.
    assert_eq!(endpoint.restored_at(), Some(endpoint.now()));
    endpoint.deliver_connection(ConnectionChange::Restored, u64::MAX);
    let restored = endpoint.now();
    advance(seconds(2)).await;
    assert_eq!(endpoint.restored_at(), Some(restored));
    let started = Instant::now();
    let bounce = async {
        loop {
            match link.take().and_then(|sent| sent.reply) {
                Some(reply) => endpoint.deliver_no_responders(&reply),
                // The clock moves on.
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::select! {
        failed = call(&endpoint, CallerConfig::default()) => {
            assert_eq!(failed.expect_err("no consumer").kind(), FailureKind::NoConsumer);
        }
        () = bounce => {}
    }
    let elapsed = started.elapsed();
    assert!((seconds(3)..Duration::from_millis(3600)).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_while_the_connection_is_lost_responds_when_the_gateway_is_back() {
    let (link, endpoint) = endpoint();
    let head = RequestFrame::decode(&request(), &Limits::default()).expect("valid").head;
    let callee = Callee::new(endpoint.now(), &head, GATEWAY, 0, Arc::default());
    let mut serving = pin!(Serving::serve(endpoint.clone(), HeldCallee::Own(callee)));
    let mut handler = pin!(Handler { responds: false });
    let mut poll = |responds| {
        handler.responds |= responds;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        serving.as_mut().poll(&mut cx, handler.as_mut()).is_ready()
    };
    // No token is open yet, and none of these reaches the exchange.
    link.set_connected(false);
    endpoint.deliver_connection(ConnectionChange::Lost, u64::MAX);
    assert!(!poll(true));
    assert_eq!(link.take(), None);
    link.set_connected(true);
    endpoint.deliver_connection(ConnectionChange::Restored, u64::MAX);
    for _ in 0..8 {
        assert!(!poll(false));
        let mut replies = Vec::new();
        while let Some(sent) = link.take() {
            assert_eq!(sent.to, GATEWAY);
            replies.push((frame(&sent), sent.reply.expect("a token")));
        }
        assert!(matches!(replies.first(), Some((Frame::Response(_), _))), "{replies:?}");
        for (_, reply) in replies {
            endpoint.deliver_no_responders(&reply);
        }
        assert!(!poll(false));
        advance(Duration::from_millis(250)).await;
    }
    assert!(!poll(false));
    let reply = std::iter::from_fn(|| link.take()).last().and_then(|sent| sent.reply).expect("a token");
    let gone = narun_core::frame::Reset { code: ResetCode::Gone, text: String::new(), ran: true };
    endpoint.deliver(&reply, gone.encode(), None);
    assert!(poll(false));
}
