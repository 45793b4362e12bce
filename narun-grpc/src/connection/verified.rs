use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long a stream needs not be looked at again.
const FRESH: Duration = Duration::from_secs(10);

/// Streams that are remembered, at most.
const REMEMBERED: usize = 16_384;

/// Streams that were lately found to be those of the tenants that their names are of.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<HashMap<String, Instant>>);

impl Verified {
    pub(crate) fn has(&self, stream: &str) -> bool {
        self.streams().get(stream).is_some_and(|found| found.elapsed() < FRESH)
    }

    pub(crate) fn add(&self, stream: &str) {
        let mut streams = self.streams();
        if streams.len() >= REMEMBERED {
            streams.retain(|_, found| found.elapsed() < FRESH);
        }
        // Should even the fresh ones be too many, there is no harm in asking again.
        if streams.len() < REMEMBERED {
            streams.insert(stream.to_owned(), Instant::now());
        }
    }

    pub(crate) fn remove(&self, stream: &str) {
        self.streams().remove(stream);
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
