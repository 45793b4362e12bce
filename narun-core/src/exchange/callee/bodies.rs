use std::time::Duration;

use bytes::Bytes;

use super::super::FlowConfig;
use super::super::flow::{Flow, Watch};
use crate::Time;
use crate::frame::{Accept, VERSION};

/// The state of a callee that is needed only if a body is longer than one frame.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) flow: Flow,
    pub(super) watch: Watch,
    /// Time until the response's head. It starts again whenever the request's body makes progress.
    pub(super) head_timeout: Option<Duration>,
    pub(super) responded: bool,
    /// The RESPONSE, until the gateway is known to have received it.
    pub(super) response: Option<Bytes>,
    /// The response is complete: until when it is sent again unless the gateway has received it.
    pub(super) confirm_until: Option<Time>,
    /// The ACCEPT for a handler that reads past the inline bytes before it responds. Its credit is set when it is sent.
    pub(super) accept: Accept,
    pub(super) idle: Duration,
    /// The latest moment that came in with an input.
    pub(super) clock: Time,
}

impl Bodies {
    pub(super) fn new(now: Time, flow: &FlowConfig) -> Self {
        Self {
            flow: Flow::default(),
            watch: Watch::default(),
            head_timeout: None,
            responded: false,
            response: None,
            confirm_until: None,
            accept: Accept { version: VERSION, instance: None, max_payload: 0, credit: 0 },
            idle: flow.idle,
            clock: now,
        }
    }

    /// Expects frames of the gateway from now on.
    pub(super) fn begin(&mut self, now: Time) {
        if self.watch.at.is_none() {
            self.watch.begin(now);
        }
    }
}
