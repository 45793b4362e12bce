//! What tests of several crates need: ways to wait, a look at metrics, NATS by hand, generated code.
//!
//! All of it panics where it fails, as tests do.

mod metrics;
mod raw;

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

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

/// Checks that a generated file has this content, which it is given before if `NARUN_REGENERATE` is set.
///
/// # Panics
///
/// If it has not, or cannot be written.
pub fn check_generated(path: impl AsRef<Path>, content: &[u8]) {
    let path = path.as_ref();
    if env::var_os("NARUN_REGENERATE").is_some() {
        fs::write(path, content).expect("a writable file");
    }
    let stored = fs::read(path).unwrap_or_default();
    assert!(
        stored == content,
        "{} is not what the .proto gives: set NARUN_REGENERATE and run again",
        path.display()
    );
}
