//! Which bodies have room in their bucket.
//!
//! Room for a whole body is reserved while its client sends at a fair rate. So nobody can hold room by opening requests,
//! and of many bodies that begin together, as many as fit are received to their end.

use std::time::Duration;

use narun_nats::jetstream::BodyStoreError;

use crate::jetstream::ReservedRoom;

/// Room for a whole body is reserved when so many bytes have arrived, and again with each further so many.
pub(super) const MOVING: usize = 64 * 1024;

/// How long the gateway waits for so many bytes before it gives back the room for what has not arrived.
const WINDOW: Duration = Duration::from_secs(2);

/// The room that a body has in its bucket: for what has arrived, and for all of it while it is moving.
#[derive(Debug)]
pub(super) struct Admission {
    room: ReservedRoom,
    /// The length that the client has declared.
    declared: Option<u64>,
    /// The most bytes of the body.
    limit: u64,
    /// How many bytes had arrived when the window began.
    mark: u64,
    /// How long the gateway had waited for the client by then.
    since: Duration,
}

impl Admission {
    pub(super) const fn new(room: ReservedRoom, declared: Option<u64>, limit: u64) -> Self {
        Self { room, declared, limit, mark: 0, since: Duration::ZERO }
    }

    /// Reserves room for what has arrived, or for the whole body if it is moving. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`BodyStoreError::Full`] if the bucket does not have it.
    pub(super) async fn arrived(&mut self, length: u64, waited: Duration) -> Result<(), BodyStoreError> {
        if length.saturating_sub(self.mark) < MOVING as u64 {
            return self.room.cover(length).await;
        }
        (self.mark, self.since) = (length, waited);
        let whole = match self.declared {
            Some(declared) => declared,
            None => {
                self.room.cover(length).await?;
                // Most are much shorter than the limit, which may be longer than the bucket.
                self.room.limit() / 4
            }
        };
        self.room.cover(whole.min(self.limit).max(length)).await
    }

    /// How much longer the gateway may wait for the client before the body is no longer moving.
    pub(super) const fn left(&self, waited: Duration) -> Duration {
        WINDOW.saturating_sub(waited.saturating_sub(self.since))
    }

    /// Gives back the room for what has not arrived.
    pub(super) fn lapse(&mut self, arrived: u64) {
        self.room.give_back_after(arrived);
    }

    /// So many bytes of the body are stored in all.
    pub(super) fn stored(&mut self, bytes: u64) {
        self.room.stored(bytes);
    }
}
