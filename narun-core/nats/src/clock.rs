use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use narun_core::Time;
use pin_project::pin_project;
use tokio::time::{Instant, Sleep};

/// The time of one endpoint, counted from its start. It stands still where tokio's time is paused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> Time {
        Time::new(self.origin.elapsed())
    }

    pub(crate) const fn timer(self) -> Timer {
        Timer { clock: self, sleep: None }
    }
}

/// Wakes a task at a given time.
///
/// It is registered with tokio's timer when it is first waited for, so one that is never waited for costs nothing.
#[pin_project]
pub struct Timer {
    clock: Clock,
    #[pin]
    sleep: Option<Sleep>,
}

impl Timer {
    /// Ready if `deadline` has passed. Otherwise the task is woken then.
    pub fn poll_until(self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Time) -> Poll<()> {
        let mut this = self.project();
        let at = this.clock.origin + deadline.since_origin();
        match this.sleep.as_mut().as_pin_mut() {
            None => this.sleep.set(Some(tokio::time::sleep_until(at))),
            Some(sleep) if sleep.deadline() != at => sleep.reset(at),
            Some(_) => {}
        }
        this.sleep.as_pin_mut().map_or(Poll::Ready(()), |sleep| sleep.poll(cx))
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("is_waiting", &self.sleep.is_some()).finish()
    }
}
