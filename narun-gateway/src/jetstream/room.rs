//! The room for bodies in their bucket, which is reserved before they are stored.
//!
//! Otherwise bodies that are received at once could fill the bucket together, and all be refused after most of the work.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use narun_nats::jetstream::{BodyStore, BodyStoreError, BucketRoom};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long it is trusted what the bucket had left. Other gateways and consumers change it as well.
const FRESH: Duration = Duration::from_secs(1);

/// The least time from one request for it to the next, unless a body has ended meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// The room that the bucket of bodies has.
pub(super) struct BodyRoom {
    counted: Mutex<Counted>,
    /// One body at a time looks, so that others use what it has seen.
    turns: Semaphore,
}

/// The room that was reserved for one body. Dropping it gives back what was not stored.
pub(crate) struct ReservedRoom {
    room: Arc<BodyRoom>,
    bodies: BodyStore,
    bytes: u64,
    /// How many of them are not stored yet.
    missing: u64,
    /// Whether anything may have been stored.
    is_used: bool,
}

#[derive(Debug, Default)]
struct Counted {
    /// The limit of the bucket, as it was seen last.
    limit: u64,
    /// What is not reserved.
    left: u64,
    /// When the bucket was asked what it had left. `None` if it must be asked again.
    asked: Option<Instant>,
    /// What is reserved and not stored.
    missing: u64,
}

impl BodyRoom {
    pub(super) fn new() -> Self {
        Self { counted: Mutex::default(), turns: Semaphore::new(1) }
    }

    /// Applies `use_room`, [`Counted::has`] or [`Counted::take`], to what is known of the bucket. Cancel safe: nothing is
    /// reserved then.
    ///
    /// # Errors
    ///
    /// [`BodyStoreError::Full`] if it returns `false`.
    async fn ask(
        &self,
        bodies: &BodyStore,
        use_room: impl Fn(&mut Counted) -> bool,
    ) -> Result<(), BodyStoreError> {
        let _turn = self.turns.acquire().await;
        let age = self.counted().asked.map(|asked| asked.elapsed());
        if age.is_some_and(|age| age < FRESH) && use_room(&mut self.counted()) {
            return Ok(());
        }
        if age.is_none_or(|age| age >= PAUSE) {
            // What is stored after this moment is counted twice, and not left out.
            let (asked, missing) = (Instant::now(), self.counted().missing);
            let BucketRoom { limit, left } = bodies.room().await?;
            let mut counted = self.counted();
            (counted.limit, counted.left, counted.asked) = (limit, left.saturating_sub(missing), Some(asked));
        }
        if use_room(&mut self.counted()) { Ok(()) } else { Err(BodyStoreError::Full) }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Whether there are so many bytes that no other body has reserved.
    const fn has(&self, bytes: u64) -> bool {
        self.limit == u64::MAX || self.left >= bytes
    }

    /// Reserves so many bytes. Returns `false` if there are not as many.
    fn take(&mut self, bytes: u64) -> bool {
        let has = self.has(bytes);
        if has && self.limit != u64::MAX {
            self.left -= bytes;
            self.missing = self.missing.saturating_add(bytes);
        }
        has
    }

    fn give_back(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(bytes);
        self.missing = self.missing.saturating_sub(bytes);
    }
}

impl ReservedRoom {
    /// Nothing is reserved yet.
    pub(super) const fn new(room: Arc<BodyRoom>, bodies: BodyStore) -> Self {
        Self { room, bodies, bytes: 0, missing: 0, is_used: false }
    }

    /// The limit of the bucket, once something has been reserved.
    pub(crate) fn limit(&self) -> u64 {
        self.room.counted().limit
    }

    /// Whether the bucket has room for a body of this length. Reserves nothing. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`BodyStoreError::Full`] if it does not.
    pub(crate) async fn check(&self, length: u64) -> Result<(), BodyStoreError> {
        let bytes = BodyStore::stored_size(length);
        self.room.ask(&self.bodies, |counted| counted.has(bytes)).await
    }

    /// Reserves room for the first bytes of the body up to this length, unless it has it. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`BodyStoreError::Full`] if the bucket does not have it.
    pub(crate) async fn cover(&mut self, length: u64) -> Result<(), BodyStoreError> {
        let more = BodyStore::stored_size(length).saturating_sub(self.bytes);
        if more > 0 {
            self.room.ask(&self.bodies, |counted| counted.take(more)).await?;
            self.bytes += more;
            self.missing += more;
        }
        Ok(())
    }

    /// Gives back the room for what follows the first bytes up to this length.
    pub(crate) fn give_back_after(&mut self, length: u64) {
        let less = self.bytes.saturating_sub(BodyStore::stored_size(length)).min(self.missing);
        self.bytes -= less;
        self.missing -= less;
        self.room.counted().give_back(less);
    }

    /// So many bytes of the body are stored in all, and more may be on their way.
    pub(crate) fn stored(&mut self, bytes: u64) {
        self.is_used = true;
        let missing = self.bytes.saturating_sub(bytes).min(self.missing);
        let mut counted = self.room.counted();
        counted.missing = counted.missing.saturating_sub(self.missing - missing);
        self.missing = missing;
    }
}

impl Drop for ReservedRoom {
    fn drop(&mut self) {
        let mut counted = self.room.counted();
        counted.give_back(self.missing);
        if self.is_used {
            counted.asked = None;
        }
    }
}

impl fmt::Debug for BodyRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyRoom").field("counted", &*self.counted()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ReservedRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReservedRoom").field(&self.missing).finish()
    }
}
