use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a stream stays verified.
const FRESH: Duration = Duration::from_secs(10);

/// Streams kept, at most.
const REMEMBERED: usize = 16_384;

/// The streams recently verified to be of the tenant in their name, with their subjects.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<HashMap<String, (Instant, Subjects)>>);

type Subjects = Arc<[String]>;

impl Verified {
    pub(crate) fn subjects(&self, stream: &str) -> Option<Subjects> {
        let streams = self.streams();
        let (_, subjects) = streams.get(stream).filter(|(found, _)| found.elapsed() < FRESH)?;
        Some(subjects.clone())
    }

    pub(crate) fn add(&self, stream: &str, subjects: &[String]) {
        let mut streams = self.streams();
        if streams.len() >= REMEMBERED {
            streams.retain(|_, (found, _)| found.elapsed() < FRESH);
        }
        // If even the fresh ones are too many, the next call looks the stream up again.
        if streams.len() < REMEMBERED {
            streams.insert(stream.to_owned(), (Instant::now(), subjects.into()));
        }
    }

    pub(crate) fn remove(&self, stream: &str) {
        self.streams().remove(stream);
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<String, (Instant, Subjects)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
