use std::time::Duration;

/// How long a client may take before the least rate counts.
const ALLOWANCE: Duration = Duration::from_secs(30);

/// The least average rate at which a client sends a body, after the first 30 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeastRate(u64);

impl LeastRate {
    /// A rate of any value.
    pub const NONE: Self = Self(0);

    /// A rate in bytes per second. 0 is [`LeastRate::NONE`].
    pub const fn new(bytes_per_second: u64) -> Self {
        Self(bytes_per_second)
    }

    /// How long the gateway may have waited for a client that has sent so many bytes.
    pub fn limit(self, received: u64) -> Duration {
        match self.0 {
            0 => Duration::MAX,
            rate => ALLOWANCE + Duration::from_millis(received.saturating_mul(1000) / rate),
        }
    }
}
