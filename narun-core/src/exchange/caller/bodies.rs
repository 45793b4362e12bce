use std::time::Duration;

use super::super::FlowConfig;
use super::super::flow::{Bounces, Flow};
use crate::Time;

/// The state of a caller that is needed only if a body is longer than one frame.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) flow: Flow,
    pub(super) bounces: Bounces,
    /// The attempt that got the first ACCEPT or RESPONSE. The other attempts are over.
    pub(super) winner: Option<u8>,
    pub(super) responded: bool,
    pub(super) idle: Duration,
    /// The latest moment that came in with an input.
    pub(super) clock: Time,
}

impl Bodies {
    pub(super) fn new(now: Time, flow: &FlowConfig) -> Self {
        let (idle, clock) = (flow.idle, now);
        let (flow, bounces) = Default::default();
        Self { flow, bounces, winner: None, responded: false, idle, clock }
    }
}
