//! The one retry rule for what is asked of JetStream.
//!
//! An error is **temporary** if the same request may succeed later without a change by an operator: there was no response
//! in time, no connection, or a cluster without a leader ([`ApiError::is_temporary`](super::ApiError::is_temporary); the
//! errors made of it say the same). Only requests that may be done twice are sent again, only after temporary errors, and
//! with pauses that double from a first to a longest one.
//!
//! | what | pauses | until |
//! |---|---|---|
//! | gateway, consumer: streams and consumers are declared | 100 or 50 ms to 5 s | it succeeds; at the start, 10 s have passed (`start_timeout`) |
//! | consumer: an outcome is stored, a body read | 50 ms to 2 s | 30 s have passed |
//! | consumer: an outcome is stored after the ack, because there was no room before | 20 ms to 1 s | 5 s have passed |
//! | gRPC: a watch, a pull or a download goes on after a failure | 500 ms | the caller leaves, or 30 s for a download |

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pauses that double, from a first to a longest one.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    until: Option<Instant>,
}

impl Backoff {
    /// Pauses from `first` to `longest`. None has begun.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first, until: None }
    }

    /// Begins the next pause and returns its length. The one after it is twice as long, up to the longest.
    pub fn advance(&mut self) -> Duration {
        let pause = self.next;
        self.next = self.longest.min(pause * 2);
        self.until = Some(Instant::now() + pause);
        pause
    }

    /// Ends the pause; the next one is the first again.
    pub const fn reset(&mut self) {
        self.next = self.first;
        self.until = None;
    }

    /// Whether no pause has begun since the last reset.
    pub const fn is_reset(&self) -> bool {
        self.until.is_none()
    }

    /// How much of the pause is left; zero if it is over.
    pub fn left(&self) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether the pause is over, or none has begun.
    pub fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }
}

/// Repeats `attempt` while its error is temporary; returns the first success or the first other error.
///
/// With a `limit`, an error is returned as well if the next attempt would begin later than that. Cancel safe if the
/// attempt is.
///
/// # Errors
///
/// That of the last attempt.
pub async fn retry<T, E, F>(
    mut backoff: Backoff,
    limit: Option<Duration>,
    mut is_temporary: impl FnMut(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    loop {
        let error = match attempt().await {
            Err(error) if is_temporary(&error) => error,
            result => return result,
        };
        let pause = backoff.advance();
        if limit.is_some_and(|limit| started.elapsed() + pause >= limit) {
            return Err(error);
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Attempts that fail, all temporarily but the last; returns when each began.
    async fn attempts(limit: Option<Duration>, failures: usize) -> (Result<(), bool>, Vec<u128>) {
        let (began, start) = (RefCell::new(Vec::new()), Instant::now());
        let attempt = || async {
            began.borrow_mut().push(start.elapsed().as_millis());
            Err(began.borrow().len() < failures)
        };
        let result = retry(Backoff::new(50 * MS, 200 * MS), limit, |temporary| *temporary, attempt).await;
        (result, began.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest() {
        assert_eq!(attempts(None, 6).await, (Err(false), vec![0, 50, 150, 350, 550, 750]));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_after_the_limit() {
        assert_eq!(attempts(Some(351 * MS), 6).await, (Err(true), vec![0, 50, 150, 350]));
        assert_eq!(attempts(Some(350 * MS), 6).await, (Err(true), vec![0, 50, 150]));
    }

    #[tokio::test(start_paused = true)]
    async fn reset_begins_again() {
        let mut backoff = Backoff::new(MS, 3 * MS);
        assert!(backoff.is_reset() && backoff.is_over());
        assert_eq!([backoff.advance(), backoff.advance(), backoff.advance()], [MS, 2 * MS, 3 * MS]);
        assert!(!backoff.is_reset() && !backoff.is_over());
        sleep(backoff.left()).await;
        assert!(!backoff.is_reset() && backoff.is_over());
        backoff.reset();
        assert!(backoff.is_reset());
        assert_eq!(backoff.advance(), MS);
    }
}
