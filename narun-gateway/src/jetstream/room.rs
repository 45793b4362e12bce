//! The room for bodies in their bucket, which is reserved before they are received.
//!
//! Otherwise bodies that are received at once could fill the bucket together, and all be refused after most of the work.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use narun_nats::jetstream::{BodyStore, BodyStoreError};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long it is trusted what the bucket had left. Other gateways and consumers change it as well.
const FRESH: Duration = Duration::from_secs(1);

/// The least time from one request for it to the next, unless a body has ended meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// The room that the bucket of bodies has.
pub(super) struct BodyRoom {
    counted: Arc<Mutex<Counted>>,
    /// One body at a time looks, so that others use what it has seen.
    turns: Semaphore,
}

/// The room that was reserved for one body. Dropping it gives back what was not stored.
pub(crate) struct ReservedRoom {
    counted: Arc<Mutex<Counted>>,
    bytes: u64,
    /// How many of them are not stored yet.
    missing: u64,
}

#[derive(Debug, Default)]
struct Counted {
    /// What is not reserved.
    left: u64,
    /// When the bucket was asked what it had left. `None` if it must be asked again.
    asked: Option<Instant>,
    /// What is reserved and not stored.
    missing: u64,
}

impl BodyRoom {
    pub(super) fn new() -> Self {
        Self { counted: Arc::default(), turns: Semaphore::new(1) }
    }

    /// Reserves room for a body of so many bytes. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`BodyStoreError::Full`] if the bucket does not have it, beside what other bodies have reserved.
    pub(super) async fn reserve(
        &self,
        bodies: &BodyStore,
        length: u64,
    ) -> Result<ReservedRoom, BodyStoreError> {
        let bytes = BodyStore::stored_size(length);
        let _turn = self.turns.acquire().await;
        let age = counted(&self.counted).asked.map(|asked| asked.elapsed());
        if age.is_some_and(|age| age < FRESH)
            && let Some(reserved) = self.take(bytes)
        {
            return Ok(reserved);
        }
        if age.is_none_or(|age| age >= PAUSE) {
            // What is stored after this moment is counted twice, and not left out.
            let (asked, missing) = (Instant::now(), counted(&self.counted).missing);
            let left = bodies.left().await?;
            let mut counted = counted(&self.counted);
            (counted.left, counted.asked) = (left.saturating_sub(missing), Some(asked));
        }
        self.take(bytes).ok_or(BodyStoreError::Full)
    }

    fn take(&self, bytes: u64) -> Option<ReservedRoom> {
        let mut counted = counted(&self.counted);
        counted.left = counted.left.checked_sub(bytes)?;
        counted.missing += bytes;
        Some(ReservedRoom { counted: self.counted.clone(), bytes, missing: bytes })
    }
}

impl ReservedRoom {
    /// So many bytes of the body are stored in all.
    pub(crate) fn stored(&mut self, bytes: u64) {
        let missing = self.bytes.saturating_sub(bytes).min(self.missing);
        counted(&self.counted).missing -= self.missing - missing;
        self.missing = missing;
    }
}

impl Drop for ReservedRoom {
    fn drop(&mut self) {
        let mut counted = counted(&self.counted);
        counted.missing -= self.missing;
        counted.asked = None;
    }
}

fn counted(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for BodyRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyRoom").field("counted", &*counted(&self.counted)).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReservedRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReservedRoom").field(&self.missing).finish()
    }
}
