use std::sync::atomic::{AtomicU64, Ordering};

/// The credit that all exchanges of a connection may have given out and not yet seen used up, in bytes.
///
/// A nats-server closes a connection that has more than 64 MB waiting for it, with everything on it; what was granted
/// may all come at once. Three quarters are given out freely, each time at most a sixteenth of what is left of them,
/// but no less than 64 KiB. The last quarter is kept for exchanges that have no credit at all, 1 KiB at a time, so that
/// thousands of them go on, slowly, while others hold the rest.
#[derive(Debug)]
pub struct Budget {
    total: u64,
    used: AtomicU64,
}

impl Budget {
    /// The default total, 48 MiB.
    pub const DEFAULT: u64 = 48 * 1024 * 1024;

    /// The least that is given out freely.
    const SHARE: u64 = 64 * 1024;

    /// What is given to exchanges that have nothing, when no more is left.
    const LEAST: u64 = 1024;

    /// A budget of so many bytes.
    pub const fn new(total: u64) -> Self {
        Self { total, used: AtomicU64::new(0) }
    }

    /// How much is given out at the moment.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes up to `wanted`; `urgent` if the exchange comes to a halt with nothing. The caller gives back what it got.
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
        // Only the sum counts: nothing else is published by it.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        given
    }

    /// Counts what was promised already.
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
    fn grants_shrink_and_then_wait() {
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
    fn a_small_budget_lets_one_after_the_other_go_on() {
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
