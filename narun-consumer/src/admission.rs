use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// First polls that take longer than this on average are not made in the dispatcher.
const PROMPT: Duration = Duration::from_micros(100);

/// How many requests run, and how many wait for that.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Slots and places in the queue together.
    places: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    /// How many places there are.
    total: u32,
    /// Running mean of how long first polls of handlers take, in nanoseconds.
    first_poll: AtomicU64,
}

/// A request's right to be here; given up when dropped.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// A request's right to run; given up when dropped.
#[derive(Debug)]
pub(crate) struct Slot(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Admission {
    pub(crate) fn new(concurrency: u32, queue: u32) -> Self {
        let total = concurrency.saturating_add(queue);
        Self {
            places: Arc::new(Semaphore::new(total as usize)),
            slots: Arc::new(Semaphore::new(concurrency as usize)),
            total,
            first_poll: AtomicU64::new(0),
        }
    }

    /// A place, unless the queue is full.
    pub(crate) fn admit(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok().map(Place)
    }

    /// A slot, if one is free and nobody waits for it.
    pub(crate) fn try_slot(&self) -> Option<Slot> {
        self.slots.clone().try_acquire_owned().ok().map(Slot)
    }

    /// The next slot that becomes free, in the order of asking; never one once they are closed.
    pub(crate) fn slot(&self) -> BoxFuture<'static, Slot> {
        let slots = self.slots.clone();
        Box::pin(async move {
            match slots.acquire_owned().await {
                Ok(permit) => Slot(permit),
                Err(_) => pending().await,
            }
        })
    }

    /// Gives out no more slots: whoever waits for one has not been executed, and never will be.
    pub(crate) fn close(&self) {
        self.slots.close();
    }

    /// Waits until all places have been given up.
    pub(crate) async fn is_empty(&self) {
        let _ = self.places.acquire_many(self.total).await;
    }

    /// Whether handlers return so soon that polling them in the dispatcher holds nobody up.
    pub(crate) fn is_prompt(&self) -> bool {
        u128::from(self.first_poll.load(Ordering::Relaxed)) < PROMPT.as_nanos()
    }

    /// Records how long a first poll took: each weighs an eighth.
    pub(crate) fn first_poll_took(&self, duration: Duration) {
        // One that blocks for long is to weigh no more than one of 100 ms, which some 40 prompt ones make up for.
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
    fn admits_as_many_as_there_are_slots_and_places() {
        let admission = Admission::new(2, 1);
        let places: Vec<_> = std::iter::from_fn(|| admission.admit()).collect();
        assert_eq!(places.len(), 3);
        let slots: Vec<_> = std::iter::from_fn(|| admission.try_slot()).collect();
        assert_eq!(slots.len(), 2);
        drop(places);
        drop(slots);
        assert!(admission.admit().is_some());
        assert!(admission.try_slot().is_some());
    }

    #[tokio::test]
    async fn gives_a_free_slot_to_the_one_that_waits() {
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
    async fn gives_no_slot_once_they_are_closed() {
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
    async fn is_empty_once_the_last_place_is_given_up() {
        let admission = Admission::new(2, 1);
        let place = admission.admit();
        assert!(admission.is_empty().now_or_never().is_none());
        drop(place);
        assert!(admission.is_empty().now_or_never().is_some());
    }

    #[test]
    fn turns_to_spawning_and_back() {
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
