//! What tests of several crates need: ways to wait, a look at metrics, NATS by hand.
//!
//! All of it panics where it fails, as tests do.

mod metrics;
mod raw;

use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt;

pub use metrics::Metrics;
pub use raw::poison;

/// How long anything may take that is to happen at all; long, as the machine may be slow and busy.
const LIMIT: Duration = Duration::from_secs(60);

/// What a future gives, which must be within a minute.
///
/// # Panics
///
/// If it is not.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {LIMIT:?}: {what}"),
    }
}

/// Waits until a condition holds, for a minute.
///
/// # Panics
///
/// If it does not hold until then.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits until the server has dealt with all that this client sent, and the client has all that the server sent before.
///
/// # Panics
///
/// If that takes longer than a minute, or the client is dead.
pub async fn settle(client: &Client) {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.expect("a subscription");
    client.publish(inbox, Bytes::new()).await.expect("a message sent");
    soon("a round trip", echo.next()).await.expect("an open subscription");
}
