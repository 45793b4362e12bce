//! The shared count of a client's connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::order::Round;

/// Latencies and failures. All clones count together.
#[derive(Clone, Debug)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    /// In nanoseconds.
    latencies: Histogram<u64>,
    failures: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        // Up to a minute, to three digits.
        let latencies = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("valid bounds");
        Self(Arc::new(Mutex::new(Counts { latencies, failures: BTreeMap::new() })))
    }

    pub(super) fn succeed(&self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts().latencies.saturating_record(nanoseconds);
    }

    pub(super) fn fail(&self, text: String) {
        *self.counts().failures.entry(text).or_default() += 1;
    }

    /// The result so far, without CPU times.
    pub(super) fn round(&self, window: Duration) -> Round {
        let counts = self.counts();
        let quantile_us = |quantile| counts.latencies.value_at_quantile(quantile) as f64 / 1e3;
        Round {
            seconds: window.as_secs_f64(),
            good: counts.latencies.len(),
            p50_us: quantile_us(0.5),
            p99_us: quantile_us(0.99),
            failures: counts.failures.clone(),
            ..Round::default()
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
