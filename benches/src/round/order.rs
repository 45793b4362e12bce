//! The order of a program to a client, and the client's reply.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A client's task for one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    /// Ids of the processes whose CPU time is measured over the window.
    pub(crate) watch: Vec<u32>,
}

/// The result of a round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    /// The length of the window.
    pub(crate) seconds: f64,
    /// The number of complete and correct responses; of requests that are done later, the number done.
    pub(crate) good: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// All other results since the first request, by their text.
    pub(crate) failures: BTreeMap<String, u64>,
    /// CPU time of the watched processes, in the order of [`Order::watch`].
    pub(crate) cpu_us: Vec<Option<f64>>,
    /// CPU time of the whole machine.
    pub(crate) machine_cpu_us: Option<f64>,
    /// Requests that were accepted but not done at the end; `None` for direct delivery.
    pub(crate) backlog: Option<u64>,
}
