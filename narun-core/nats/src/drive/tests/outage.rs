//! Exchanges that end while nothing can be published.

use std::task::Waker;

use tokio::time::timeout;

use super::*;

/// An exchange that sends its body after its head, and the start of its response.
async fn streamed(endpoint: &Arc<Endpoint>) -> (Duration, FailureKind) {
    let flow = Arc::new(FlowConfig::default());
    let machine = Caller::new(endpoint.now(), CallerConfig::default(), 1).with_body(endpoint.now(), 0, flow);
    let body = Empty::<Bytes>::new().map_err(|never| -> Failure { match never {} });
    let to = Subject::from_static("app");
    let (exchange, incoming) = StreamedExchange::new(endpoint.clone(), to, request(), machine, Some(body));
    let started = Instant::now();
    let exchange = tokio::spawn(exchange);
    let start = std::future::poll_fn(|cx| incoming.poll_start(cx)).await;
    let kind = start.expect_err("no response").kind();
    timeout(seconds(1), exchange).await.expect("it ends with its exchange").expect("no panic");
    (started.elapsed(), kind)
}

#[tokio::test(start_paused = true)]
async fn a_handler_ends_at_its_deadline_while_the_connection_is_lost() {
    let (link, endpoint) = endpoint();
    let mut head = RequestFrame::decode(&request(), &Limits::default()).expect("valid").head;
    head.head_timeout = Some(seconds(12));
    let callee = Callee::new(endpoint.now(), &head, GATEWAY, 0, Arc::new(CalleeConfig::default()));
    let mut serving = Box::pin(Serving::serve(endpoint.clone(), HeldCallee::Own(callee)));
    let (started, mut never) = (Instant::now(), Box::pin(Never::default()));
    let mut ended = std::future::poll_fn(|cx| serving.as_mut().poll(cx, never.as_mut()));
    assert!(timeout(seconds(1), &mut ended).await.is_err());
    assert!(matches!(frame(&link.take().expect("a frame")), Frame::Working(_)));
    link.set_connected(false);
    endpoint.deliver_connection(ConnectionChange::Lost, u64::MAX);
    let why = timeout(seconds(60), ended).await.expect("it does not wait for the connection");
    assert_eq!((why, started.elapsed()), (Some(Cancelled::Deadline), seconds(12)));
    // When it is dropped, the client may still pass on that it has ended.
    assert_eq!(link.take(), None);
    serving.as_mut().abandon(Waker::noop());
    assert!(
        matches!(frame(&link.take().expect("a RESET")), Frame::Reset(reset) if reset.code == ResetCode::Deadline)
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_ends_soon_after_its_deadline_while_the_queue_is_full() {
    let (link, endpoint) = endpoint();
    let mut head = RequestFrame::decode(&request(), &Limits::default()).expect("valid").head;
    head.head_timeout = Some(seconds(12));
    let callee = Callee::new(endpoint.now(), &head, GATEWAY, 0, Arc::new(CalleeConfig::default()));
    let mut serving = pin!(Serving::serve(endpoint.clone(), HeldCallee::Own(callee)));
    let (started, mut never) = (Instant::now(), pin!(Never::default()));
    link.set_full(true);
    let ended = std::future::poll_fn(|cx| serving.as_mut().poll(cx, never.as_mut()));
    let why = timeout(seconds(60), ended).await.expect("it does not wait for ever");
    assert_eq!((why, started.elapsed()), (Some(Cancelled::Deadline), seconds(17)));
}

#[tokio::test(start_paused = true)]
async fn the_reset_of_a_handler_waits_for_room_in_the_queue() {
    let (link, endpoint) = endpoint();
    let mut head = RequestFrame::decode(&request(), &Limits::default()).expect("valid").head;
    head.head_timeout = Some(seconds(12));
    let callee = Callee::new(endpoint.now(), &head, GATEWAY, 0, Arc::new(CalleeConfig::default()));
    let mut serving = Box::pin(Serving::serve(endpoint.clone(), HeldCallee::Own(callee)));
    link.set_full(true);
    let served = tokio::spawn(async move {
        let mut never = Box::pin(Never::default());
        std::future::poll_fn(|cx| serving.as_mut().poll(cx, never.as_mut())).await
    });
    tokio::time::sleep(seconds(13)).await;
    assert!(!served.is_finished());
    link.set_full(false);
    assert_eq!(served.await.expect("no panic"), Some(Cancelled::Deadline));
    let last = std::iter::from_fn(|| link.take()).last().expect("a RESET");
    assert!(matches!(frame(&last), Frame::Reset(_)));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_request_is_not_sent_after_its_failure_when_the_connection_returns() {
    let (link, endpoint) = endpoint();
    link.set_connected(false);
    let (elapsed, kind) = streamed(&endpoint).await;
    assert_eq!((elapsed, kind), (seconds(15), FailureKind::TimedOut));
    assert_eq!(endpoint.open_tokens(), 0);
    link.set_connected(true);
    tokio::task::yield_now().await;
    assert_eq!(link.take(), None);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_request_is_not_sent_after_its_failure_when_the_queue_has_room() {
    let (link, endpoint) = endpoint();
    link.set_full(true);
    let (elapsed, kind) = streamed(&endpoint).await;
    assert_eq!((elapsed, kind), (seconds(15), FailureKind::TimedOut));
    link.set_full(false);
    tokio::task::yield_now().await;
    assert_eq!(link.take(), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_times_out_while_the_queue_is_full() {
    let (link, endpoint) = endpoint();
    link.set_full(true);
    let started = Instant::now();
    let failure = call(&endpoint, CallerConfig::default()).await.expect_err("no response");
    assert_eq!((failure.kind(), started.elapsed()), (FailureKind::TimedOut, seconds(15)));
    link.set_full(false);
    assert_eq!(link.take(), None);
}

#[tokio::test(start_paused = true)]
async fn a_durable_call_times_out_while_the_queue_is_full() {
    let (link, endpoint) = endpoint();
    link.set_full(true);
    let started = Instant::now();
    let failure = durable_call(&endpoint).accepted().await.expect_err("no PubAck");
    assert_eq!((failure.kind(), started.elapsed()), (FailureKind::NotConfirmed, seconds(15)));
}
