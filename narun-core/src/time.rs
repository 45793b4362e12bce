use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment, as the time since an origin that the driver of a state machine chooses and keeps.
///
/// narun-core reads no clock: every moment comes in as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The origin itself.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The largest representable moment, for what never comes.
    pub const MAX: Self = Self(Duration::MAX);

    /// The moment that lies `since_origin` after the origin.
    pub const fn new(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    /// How long after the origin this moment lies.
    pub const fn since_origin(self) -> Duration {
        self.0
    }
}

/// Saturates at the largest representable moment.
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// The time from the right moment to the left one, zero if that is the other way round.
impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
