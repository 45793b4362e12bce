//! Tools for the tests of several crates: waiting with a time limit, metrics, logs, raw NATS messages, generated code.
//!
//! They panic if they fail, as tests do.

mod logs;
mod metrics;
mod raw;

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt;

pub use logs::{LoggedFields, Logs};
pub use metrics::Metrics;
pub use raw::poison;

/// How long any wait may take. Long, as the machine may be slow and busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for a future and returns its output.
///
/// # Panics
///
/// If it does not complete within a minute.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("not within {LIMIT:?}: {what}"),
    }
}

/// Waits until a condition holds.
///
/// # Panics
///
/// If it does not hold within a minute.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits until the server has processed everything that this client sent, and the client has received everything that
/// the server sent before that.
///
/// # Panics
///
/// If this takes longer than a minute, or the client is closed.
pub async fn settle(client: &Client) {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.expect("a subscription");
    client.publish(inbox, Bytes::new()).await.expect("a message sent");
    soon("a round trip", echo.next()).await.expect("an open subscription");
}

/// Checks that a generated file has this content. If `NARUN_REGENERATE` is set, writes the content first.
///
/// # Panics
///
/// If the content differs, or the file cannot be written.
pub fn check_generated(path: impl AsRef<Path>, content: &[u8]) {
    let path = path.as_ref();
    if env::var_os("NARUN_REGENERATE").is_some() {
        fs::write(path, content).expect("a writable file");
    }
    let stored = fs::read(path).unwrap_or_default();
    assert!(stored == content, "{} is out of date: set NARUN_REGENERATE and run again", path.display());
}
