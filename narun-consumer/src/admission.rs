use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// If first polls take longer than this on average, they are not made in the dispatcher.
const PROMPT: Duration = Duration::from_micros(100);

/// Limits how many requests are handled, and how many wait for a slot.
#[derive(Debug)]
pub(crate) struct Admission {
    /// One for each slot and for each place in the queue.
    places: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    /// One for each response that waits for its gateway without a slot. As many as places.
    unconfirmed: Arc<Semaphore>,
    /// The number of places.
    total: u32,
    /// The moving average of the duration of handlers' first polls, in nanoseconds.
    first_poll: AtomicU64,
}

/// The permit of a request to be queued or handled; released when dropped.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The permit of a request to be handled; released when dropped.
#[derive(Debug)]
pub(crate) struct Slot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    pub(crate) fn new(concurrency: u32, queue: u32) -> Self {
        let total = concurrency.saturating_add(queue);
        Self {
            places: Arc::new(Semaphore::new(total as usize)),
            slots: Arc::new(Semaphore::new(concurrency as usize)),
            unconfirmed: Arc::new(Semaphore::new(total as usize)),
            total,
            first_poll: AtomicU64::new(0),
        }
    }

    /// Returns a place, or `None` if the queue is full.
    pub(crate) fn admit(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok().map(Place)
    }

    /// Returns another place for a request whose handler has returned, so that it holds up no other request while its response
    /// waits for the gateway. Returns `None` if too many wait.
    pub(crate) fn admit_unconfirmed(&self) -> Option<Place> {
        self.unconfirmed.clone().try_acquire_owned().ok().map(Place)
    }

    /// Returns a slot if one is free and no request waits for it.
    pub(crate) fn try_slot(&self) -> Option<Slot> {
        self.slots.clone().try_acquire_owned().ok().map(Slot)
    }

    /// Waits for a slot, in the order of the calls. Never completes once the slots are closed.
    pub(crate) fn slot(&self) -> BoxFuture<'static, Slot> {
        let slots = self.slots.clone();
        Box::pin(async move {
            match slots.acquire_owned().await {
                Ok(permit) => Slot(permit),
                Err(_) => pending().await,
            }
        })
    }

    /// Hands out no more slots: the requests that wait for one are never executed.
    pub(crate) fn close(&self) {
        self.slots.close();
    }

    /// Waits until all places have been released.
    pub(crate) async fn is_empty(&self) {
        let _ = self.places.acquire_many(self.total).await;
    }

    /// Whether first polls are so short that making them in the dispatcher does not delay other requests.
    pub(crate) fn is_prompt(&self) -> bool {
        u128::from(self.first_poll.load(Ordering::Relaxed)) < PROMPT.as_nanos()
    }

    /// Records the duration of a first poll, with a weight of an eighth.
    pub(crate) fn first_poll_took(&self, duration: Duration) {
        // Capped at 100 ms, so that about 40 short polls make up for a long one.
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(100_000_000);
        let mean = self.first_poll.load(Ordering::Relaxed);
        self.first_poll.store(mean - mean / 8 + nanos / 8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_request_is_admitted_while_there_are_places() {
        let admission = Admission::new(2, 1);
        let places: Vec<_> = std::iter::from_fn(|| admission.admit()).collect();
        assert_eq!(places.len(), 3);
        let slots: Vec<_> = std::iter::from_fn(|| admission.try_slot()).collect();
        assert_eq!(slots.len(), 2);
        drop(places);
        drop(slots);
        assert!(admission.admit().is_some());
        assert!(admission.try_slot().is_some());
        let unconfirmed: Vec<_> = std::iter::from_fn(|| admission.admit_unconfirmed()).collect();
        assert_eq!(unconfirmed.len(), 3);
        assert!(admission.admit().is_some());
    }

    #[tokio::test]
    async fn a_free_slot_goes_to_the_request_that_waits() {
        let admission = Admission::new(1, 1);
        let running = admission.try_slot().expect("free");
        let waiting = tokio::spawn(admission.slot());
        tokio::task::yield_now().await;
        assert!(admission.try_slot().is_none());
        drop(running);
        let slot = waiting.await.expect("no panic");
        assert!(admission.try_slot().is_none());
        drop(slot);
        assert!(admission.try_slot().is_some());
    }

    #[tokio::test]
    async fn there_are_no_slots_once_they_are_closed() {
        let admission = Admission::new(1, 1);
        let running = admission.try_slot().expect("free");
        let waiting = tokio::spawn(admission.slot());
        tokio::task::yield_now().await;
        admission.close();
        drop(running);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(admission.try_slot().is_none());
    }

    #[tokio::test]
    async fn it_is_empty_once_the_last_place_is_released() {
        let admission = Admission::new(2, 1);
        let place = admission.admit();
        assert!(admission.is_empty().now_or_never().is_none());
        drop(place);
        assert!(admission.is_empty().now_or_never().is_some());
    }

    #[test]
    fn it_is_prompt_while_first_polls_are_short() {
        let admission = Admission::new(1, 1);
        assert!(admission.is_prompt());
        for _ in 0..20 {
            admission.first_poll_took(Duration::from_millis(5));
        }
        assert!(!admission.is_prompt());
        for _ in 0..100 {
            admission.first_poll_took(Duration::from_micros(2));
        }
        assert!(admission.is_prompt());
    }
}
