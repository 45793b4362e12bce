use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment, as the time since an origin that the driver of a state machine chooses.
///
/// This crate reads no clock: every moment comes in as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The origin.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The largest representable moment, which stands for "never".
    pub const MAX: Self = Self(Duration::MAX);

    /// Creates the moment that lies `since_origin` after the origin.
    pub const fn new(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// Returns how long after the origin this moment lies.
    pub const fn since_origin(self) -> Duration {
        self.0
    }
}

/// Saturates at [`Time::MAX`].
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Returns the time from the right moment to the left one, or zero if the right one is later.
impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
