use std::sync::atomic::{AtomicU64, Ordering};

/// The outstanding credit that all exchanges of a connection share, in bytes: bytes that may still arrive or are queued
/// for their readers.
///
/// A nats-server closes a connection that has more than 64 MB waiting for it, and all granted bytes may arrive at once.
/// Three quarters of the budget are granted freely: each grant is at most a sixteenth of what is left of them, or 64 KiB
/// if that is more. The last quarter is reserved for exchanges without any credit, 1 KiB at a time, so that thousands of
/// them make progress, slowly, while others hold the rest.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    used: AtomicU64,
}

impl Budget {
    /// The default total: 48 MiB.
    pub const DEFAULT: u64 = 48 * 1024 * 1024;

    /// The limit of a free grant is never lower. If less is left of the three quarters, no free grant is made.
    const SHARE: u64 = 64 * 1024;

    /// Largest grant from the last quarter.
    const LEAST: u64 = 1024;

    /// Creates a budget of `total` bytes.
    pub const fn new(total: u64) -> Self {
        Self { total, used: AtomicU64::new(0) }
    }

    /// Returns the bytes that are in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes up to `wanted` bytes and returns how many: 0 if the budget is used up. `urgent` states that the exchange has
    /// no credit. Every byte must be given back.
    pub(super) fn take(&self, wanted: u64, urgent: bool) -> u64 {
        let mut given = 0;
        let take = |used: u64| {
            let free = self.total.saturating_sub(used);
            let common = free.saturating_sub(self.total / 4);
            given = if common >= Self::SHARE {
                wanted.min((common / 16).max(Self::SHARE))
            } else if urgent {
                wanted.min(Self::LEAST).min(free)
            } else {
                0
            };
            (given > 0).then_some(used + given)
        };
        // Relaxed: the counter guards no other memory.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        given
    }

    /// Takes bytes that were granted already, even beyond the total.
    pub(super) fn force(&self, amount: u64) {
        self.used.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 1024 * 1024;

    #[test]
    fn grants_shrink_until_only_urgent_ones_are_left() {
        let budget = Budget::default();
        let mut last = WINDOW;
        let mut count = 0;
        while let given @ 1.. = budget.take(WINDOW, false) {
            assert!(given <= last && given >= 64 * 1024, "{given}");
            (last, count) = (given, count + 1);
        }
        assert_eq!(last, 64 * 1024);
        assert!(count > 60, "{count}");
        assert!(budget.used() <= Budget::DEFAULT * 3 / 4);

        let mut urgent = 0;
        while let given @ 1.. = budget.take(WINDOW, true) {
            assert!(given <= 1024);
            urgent += 1;
        }
        assert!(urgent >= 12 * 1024, "{urgent}");
        assert_eq!(budget.used(), Budget::DEFAULT);
        budget.give_back(WINDOW);
        assert_eq!(budget.take(10, true), 10);
    }

    #[test]
    fn a_small_budget_grants_urgent_wishes_only() {
        let budget = Budget::new(1500);
        assert_eq!(budget.take(WINDOW, false), 0);
        assert_eq!(budget.take(WINDOW, true), 1024);
        assert_eq!(budget.take(WINDOW, true), 476);
        assert_eq!(budget.take(WINDOW, true), 0);
        budget.force(2000);
        budget.give_back(1500);
        assert_eq!(budget.take(1, true), 0);
    }
}
