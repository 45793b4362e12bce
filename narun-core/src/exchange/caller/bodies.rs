use std::time::Duration;

use super::super::FlowConfig;
use super::super::flow::Flow;
use crate::Time;

/// The state of a caller that is needed only if a body is longer than one frame.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) flow: Flow,
    /// The attempt that got the first ACCEPT or RESPONSE. The other attempts are over.
    pub(super) winner: Option<u8>,
    pub(super) responded: bool,
    pub(super) idle: Duration,
    /// The latest moment that came in with an input.
    pub(super) clock: Time,
}

impl Bodies {
    pub(super) fn new(now: Time, flow: &FlowConfig) -> Self {
        Self { flow: Flow::default(), winner: None, responded: false, idle: flow.idle, clock: now }
    }
}
