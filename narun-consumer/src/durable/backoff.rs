use std::time::Duration;

use tokio::time::Instant;

/// The pause before the next attempt, which doubles with each failure.
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

    /// Starts the next pause. Returns `true` if it is the first one.
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
