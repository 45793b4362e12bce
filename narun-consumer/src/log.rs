//! Failures in the log. Of those that repeat, only the first is logged at once.

use std::fmt::Display;

use bytes::Bytes;
use http::HeaderValue;
use narun_core::fields::X_REQUEST_ID;
use narun_core::frame::RequestFrame;
use narun_core::{App, ExchangeId, Limits};
use narun_nats::{RepeatedEvents, Summary};

use crate::durable::DeadLetterReason;

/// The log of failures of a consumer.
#[derive(Debug)]
pub(crate) struct FailureLog {
    app: App,
    /// Their kinds: what happened, and its reason if that is a kind of its own.
    events: RepeatedEvents<(&'static str, Option<&'static str>)>,
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
        let request_id = text(request_id);
        if self.events.is_first(&(what, None), request_id.unwrap_or_default()) {
            let cause = cause.map(tracing::field::display);
            tracing::error!(app = %self.app, cause, request_id, "{what}");
        }
    }

    /// A request was refused: the gateway may send it to another consumer. `frame` is its REQUEST, of which only the first one
    /// is read: there are many when all slots are taken.
    pub(crate) fn refused(&self, why: &'static str, cause: Option<&dyn Display>, frame: &Bytes) {
        if self.events.is_first(&(why, None), "") {
            let cause = cause.map(tracing::field::display);
            let frame = RequestFrame::decode(frame, &Limits::default()).ok();
            let request_id = text(frame.as_ref().and_then(|frame| frame.parts.headers.get(X_REQUEST_ID)));
            tracing::warn!(app = %self.app, cause, request_id, "refused a request: {why}");
        }
    }

    /// A durable request became a dead letter. `id` and `request_id` are `None` if it cannot be read.
    pub(crate) fn dead_lettered(
        &self,
        id: Option<&ExchangeId>,
        request_id: Option<&HeaderValue>,
        deliveries: u64,
        reason: &DeadLetterReason,
    ) {
        let what = "the request is now a dead letter";
        let request_id = text(request_id);
        if self.events.is_first(&(what, Some(reason.label())), request_id.unwrap_or_default()) {
            let id = id.map(tracing::field::display);
            tracing::warn!(app = %self.app, id, request_id, deliveries, %reason, "{what}");
        }
    }

    /// There was no room in JetStream's storage for an outcome or a dead letter.
    pub(crate) fn not_stored(&self, what: &'static str, why: &dyn Display, request_id: Option<&HeaderValue>) {
        let request_id = text(request_id);
        let full = "JetStream's storage is full";
        if self.events.is_first(&(full, Some(what)), request_id.unwrap_or_default()) {
            tracing::warn!(app = %self.app, request_id, %why, what, "{full}");
        }
    }

    /// Logs how many failures there were like one that was logged. Never completes.
    pub(crate) async fn summarize(&self) {
        let log = |(what, reason): (_, Option<&str>), Summary { count, last }| {
            let last_request_id = Some(last).filter(|id| !id.is_empty());
            tracing::warn!(app = %self.app, count, reason, last_request_id, "more of these: {what}");
        };
        self.events.summarize(log).await;
    }
}

fn text(request_id: Option<&HeaderValue>) -> Option<&str> {
    request_id.and_then(|id| id.to_str().ok())
}
