//! Failures in the log. Of those that repeat, only the first is logged at once.

use std::fmt::Display;

use http::HeaderValue;
use narun_core::App;
use narun_nats::{RepeatedEvents, Summary};

/// The log of failures of a consumer.
#[derive(Debug)]
pub(crate) struct FailureLog {
    app: App,
    events: RepeatedEvents<&'static str>,
}

impl FailureLog {
    pub(crate) fn new(app: App) -> Self {
        Self { app, events: RepeatedEvents::default() }
    }

    /// A request failed in its handler, or because of its response.
    pub(crate) fn failed(
        &self,
        what: &'static str,
        cause: Option<&dyn Display>,
        request_id: Option<&HeaderValue>,
    ) {
        let request_id = request_id.and_then(|id| id.to_str().ok());
        if self.events.is_first(&what, request_id.unwrap_or_default()) {
            let cause = cause.map(tracing::field::display);
            tracing::error!(app = %self.app, cause, request_id, "{what}");
        }
    }

    /// A request was refused: the gateway may send it to another consumer.
    pub(crate) fn refused(&self, why: &'static str, cause: Option<&dyn Display>) {
        if self.events.is_first(&why, "") {
            let cause = cause.map(tracing::field::display);
            tracing::warn!(app = %self.app, cause, "refused a request: {why}");
        }
    }

    /// Logs how many failures there were like one that was logged. Never completes.
    pub(crate) async fn summarize(&self) {
        let log = |what, Summary { count, last }: Summary| {
            let last_request_id = Some(last).filter(|id| !id.is_empty());
            tracing::warn!(app = %self.app, count, last_request_id, "more of these: {what}");
        };
        self.events.summarize(log).await;
    }
}
