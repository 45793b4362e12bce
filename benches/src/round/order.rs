//! What a program tells a client, and what it gets back.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a client is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    /// The processes whose CPU time is taken at both ends of the window.
    pub(crate) watch: Vec<u32>,
}

/// What a client counted in the window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    /// How long the window was.
    pub(crate) seconds: f64,
    /// Complete, correct answers; where they are not the end of it, what was done.
    pub(crate) good: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Anything else, from the first request on, by what it was.
    pub(crate) failures: BTreeMap<String, u64>,
    /// CPU time of the watched processes, in their order.
    pub(crate) cpu_us: Vec<Option<f64>>,
    /// CPU time of the whole machine.
    pub(crate) machine_cpu_us: Option<f64>,
    /// Requests that were accepted but not done at the end, where there can be such.
    pub(crate) backlog: Option<u64>,
}
