//! The size and the limits of a scenario.

use std::time::Duration;

/// How much a scenario does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) requests: u64,
    pub(super) kills: u64,
    pub(super) concurrency: usize,
    pub(super) timeout: Duration,
    pub(super) ack_wait: Duration,
    pub(super) limit: Duration,
}
