//! The round trip at the start, at tokio's time, which is paused.

use tokio::time::{Instant, sleep};

use super::*;
use crate::link::memory::Memory;

const LIMIT: Duration = Duration::from_secs(10);

fn endpoint() -> (Memory, Arc<Endpoint>) {
    let link = Memory::default();
    let endpoint = Endpoint::new(link.clone(), "_INBOX", ReplyPolicy::default(), Limits::default(), |_| {});
    (link, Arc::new(endpoint))
}

/// Takes each message to where it belongs after this time: to its subject, or, if that is absent, back to its reply.
async fn carry(link: &Memory, endpoint: &Arc<Endpoint>, delay: Duration) {
    loop {
        while let Some(sent) = link.take() {
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                sleep(delay).await;
                match sent.reply {
                    Some(reply) => endpoint.deliver_no_responders(&reply),
                    None => endpoint.deliver(&sent.to, sent.payload, None),
                }
            });
        }
        // The clock moves on.
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_trip_may_take_seconds() {
    for absent in [None, Some(Subject::from_static("_INBOX.absent"))] {
        let (link, endpoint) = endpoint();
        let started = Instant::now();
        tokio::select! {
            subscribed = endpoint.subscribed(LIMIT, absent) => assert_eq!(subscribed, Ok(())),
            () = carry(&link, &endpoint, Duration::from_millis(2500)) => {}
        }
        let elapsed = started.elapsed();
        assert!((Duration::from_millis(2500)..Duration::from_millis(2600)).contains(&elapsed), "{elapsed:?}");
        assert_eq!(endpoint.open_tokens(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_inbox_in_which_nothing_arrives_is_denied() {
    let (_link, endpoint) = endpoint();
    let started = Instant::now();
    let denied = endpoint.subscribed(LIMIT, None).await.expect_err("nothing arrives");
    assert_eq!(denied, Denied::new(Permission::Subscribe, endpoint.subject()));
    assert_eq!(started.elapsed(), LIMIT);
}
