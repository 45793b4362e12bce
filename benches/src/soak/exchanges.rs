//! The requests of a soak, and how they end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use narun_gateway::{GatewayService, NotFound};
use tokio::time;
use tower::ServiceExt;

/// The route's timeout: requests that are not dropped before get 504.
pub(super) const TIMEOUT: Duration = Duration::from_millis(50);

/// The number of requests that all tasks make together, and counts of how they ended.
#[derive(Debug)]
pub(super) struct Exchanges {
    wanted: u64,
    made: AtomicU64,
    timed_out: AtomicU64,
    dropped: AtomicU64,
    /// Responses with another status than 504.
    wrong: Mutex<BTreeMap<StatusCode, u64>>,
}

impl Exchanges {
    pub(super) fn new(wanted: u64) -> Self {
        Self {
            wanted,
            made: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            wrong: Mutex::default(),
        }
    }

    /// How many requests were begun.
    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed).min(self.wanted)
    }

    /// Whether all requests timed out or were dropped, and some ended in either way.
    pub(super) fn are_as_expected(&self) -> bool {
        let [timed_out, dropped] =
            [&self.timed_out, &self.dropped].map(|count| count.load(Ordering::Relaxed));
        timed_out > 0 && dropped > 0 && timed_out + dropped == self.wanted
    }

    /// Makes requests, one after the other, until there are enough.
    pub(super) async fn make(self: Arc<Self>, service: GatewayService<NotFound>) {
        loop {
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            if number >= self.wanted {
                return;
            }
            // Half of all requests are dropped, and half of these as soon as they are sent.
            let patience = match number % 4 {
                0 => Duration::ZERO,
                1 => TIMEOUT / 5,
                _ => Duration::MAX,
            };
            let response = service.clone().oneshot(request());
            match time::timeout(patience, response).await {
                Err(_) => _ = self.dropped.fetch_add(1, Ordering::Relaxed),
                Ok(Ok(response)) if response.status() == StatusCode::GATEWAY_TIMEOUT => {
                    self.timed_out.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Ok(response)) => {
                    let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
                    *wrong.entry(response.status()).or_default() += 1;
                }
            }
        }
    }
}

impl fmt::Display for Exchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [timed_out, dropped] =
            [&self.timed_out, &self.dropped].map(|count| count.load(Ordering::Relaxed));
        write!(f, "{timed_out} timed out, {dropped} were dropped")?;
        for (status, count) in &*self.wrong.lock().unwrap_or_else(PoisonError::into_inner) {
            write!(f, ", {count} got {status}")?;
        }
        Ok(())
    }
}

fn request() -> Request<Full<Bytes>> {
    Request::post("/soak")
        .header("host", "narun.example")
        .header("content-type", "application/octet-stream")
        .body(Full::new(Bytes::from_static(&[b'x'; 200])))
        .expect("a valid request")
}
