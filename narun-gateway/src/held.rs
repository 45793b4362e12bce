//! The memory that the bodies of durable requests take.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use narun_core::{Failure, FailureKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How many bytes of durable requests' bodies a gateway may have in memory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BodyBudget {
    left: Arc<Semaphore>,
    bytes: usize,
}

/// The bytes of one body that are in memory. Dropping it gives them back.
pub(crate) struct HeldBytes {
    budget: BodyBudget,
    permit: Option<OwnedSemaphorePermit>,
}

impl BodyBudget {
    pub(crate) fn new(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { left: Arc::new(Semaphore::new(bytes)), bytes }
    }

    /// Nothing of a body yet.
    pub(crate) fn hold(&self) -> HeldBytes {
        HeldBytes { budget: self.clone(), permit: None }
    }
}

impl HeldBytes {
    /// Takes so many bytes more. Returns false if the budget does not have them.
    #[must_use]
    pub(crate) fn try_grow(&mut self, bytes: usize) -> bool {
        let Ok(permits) = u32::try_from(bytes) else { return false };
        let more = self.budget.left.clone().try_acquire_many_owned(permits).ok();
        more.map(|more| self.add(more)).is_some()
    }

    /// Whether the budget has so many bytes more, unless another body takes them first.
    pub(crate) fn has(&self, bytes: usize) -> bool {
        self.budget.left.available_permits() >= bytes
    }

    /// Whether less than half of the budget is left: then a client that pauses must not hold what can be stored.
    pub(crate) fn is_short(&self) -> bool {
        !self.has(self.budget.bytes / 2)
    }

    /// Waits for so many bytes more. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`FailureKind::TooManyBodies`] if they are not free within `limit`.
    pub(crate) async fn grow(&mut self, bytes: usize, limit: Duration) -> Result<(), Failure> {
        let permits = u32::try_from(bytes).map_err(|_| FailureKind::TooManyBodies)?;
        match timeout(limit, self.budget.left.clone().acquire_many_owned(permits)).await {
            Ok(Ok(more)) => {
                self.add(more);
                Ok(())
            }
            _ => Err(FailureKind::TooManyBodies.into()),
        }
    }

    /// Gives back all but so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.permit {
            drop(permit.split(permit.num_permits().saturating_sub(bytes)));
        }
    }

    fn add(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            permit => *permit = Some(more),
        }
    }
}

impl fmt::Debug for HeldBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        f.debug_tuple("HeldBytes").field(&bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_given_back() {
        let budget = BodyBudget::new(10);
        let (mut first, mut second) = (budget.hold(), budget.hold());
        assert!(first.try_grow(4) && first.try_grow(4) && !second.try_grow(3));
        first.shrink_to(9);
        assert!(!second.try_grow(3) && second.is_short());
        first.shrink_to(5);
        assert!(!second.is_short());
        assert!(second.try_grow(3) && !second.try_grow(3));
        let late = second.grow(3, Duration::from_secs(1)).await;
        assert_eq!(late.map_err(|failure| failure.kind()), Err(FailureKind::TooManyBodies));
        drop(first);
        assert_eq!(second.grow(7, Duration::from_secs(1)).await, Ok(()));
        assert!(!second.try_grow(1));
        drop(second);
        assert!(budget.hold().try_grow(10));
    }
}
