use std::time::Duration;

use tokio::time::Instant;

/// Pauses that grow, as long as nothing works.
pub(super) struct Backoff {
    next: Duration,
    until: Instant,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);

    pub(super) fn new() -> Self {
        Self { next: Self::FIRST, until: Instant::now() }
    }

    /// Begins the next pause; true if it is the first one.
    pub(super) fn grow(&mut self) -> bool {
        let is_first = self.next == Self::FIRST;
        self.until = Instant::now() + self.next;
        self.next = Self::LONGEST.min(self.next * 2);
        is_first
    }

    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    pub(super) fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }
}
