//! What a gateway logs at INFO and above.

use http::HeaderValue;
use narun_core::{App, BodyErrorKind, Failure, FailureKind, Namespace};
use narun_nats::{RepeatedEvents, Summary};

use crate::route::Route;
use crate::route::compiled::CompiledRoute;

/// The most routes that are logged one by one.
const MOST_ROUTES: usize = 100;

/// The log of failures. Of those that repeat, only the first is logged at once.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    events: RepeatedEvents<Event>,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Event {
    Failed(App, FailureKind),
    Aborted(App, BodyErrorKind),
    /// A status could not be returned.
    NoStatus(FailureKind),
}

/// The routes of a gateway, for the log: the first ones, and the number of all.
#[derive(Debug)]
pub(crate) struct RouteList {
    first: Vec<Route>,
    total: usize,
}

impl FailureLog {
    /// A request got no response from its handler. Failures that clients cause are logged at debug only.
    pub(crate) fn failed(&self, failure: &Failure, route: &CompiledRoute, request_id: &HeaderValue) {
        let (app, cause) = (route.app(), failure.cause());
        let request_id = text(request_id);
        let status = failure.status();
        if !status.is_server_error() || failure.kind() == FailureKind::NotImplemented {
            tracing::debug!(%failure, cause, %app, route = route.template(), request_id, "the request failed");
        } else if self.events.is_first(&Event::Failed(app.clone(), failure.kind()), request_id) {
            tracing::warn!(
                %failure, cause, %app, route = route.template(), request_id, status = status.as_u16(),
                "the request failed"
            );
        }
    }

    /// A response was aborted after its head.
    pub(crate) fn aborted(&self, kind: BodyErrorKind, route: &CompiledRoute, request_id: &HeaderValue) {
        let (app, request_id) = (route.app(), text(request_id));
        if self.events.is_first(&Event::Aborted(app.clone(), kind), request_id) {
            tracing::warn!(%kind, %app, route = route.template(), request_id, "the response was aborted");
        }
    }

    /// The status of a durable request could not be returned. Failures that clients cause are logged at debug only.
    pub(crate) fn no_status(&self, failure: &Failure, request_id: Option<&HeaderValue>) {
        let (what, cause) = ("the status cannot be returned", failure.cause());
        let request_id = request_id.map(text).unwrap_or_default();
        if !failure.status().is_server_error() {
            tracing::debug!(%failure, cause, request_id, "{what}");
        } else if self.events.is_first(&Event::NoStatus(failure.kind()), request_id) {
            tracing::warn!(%failure, cause, request_id, "{what}");
        }
    }

    /// Logs how many failures there were like one that was logged. Never completes.
    pub(crate) async fn summarize(&self) {
        let log = |event, Summary { count, last }| {
            let last_request_id = last.as_str();
            match event {
                Event::Failed(app, kind) => {
                    let failure = Failure::new(kind);
                    tracing::warn!(%failure, %app, count, last_request_id, "more requests failed");
                }
                Event::Aborted(app, kind) => {
                    tracing::warn!(%kind, %app, count, last_request_id, "more responses were aborted");
                }
                Event::NoStatus(kind) => {
                    let failure = Failure::new(kind);
                    tracing::warn!(%failure, count, last_request_id, "more statuses could not be returned");
                }
            }
        };
        self.events.summarize(log).await;
    }
}

impl RouteList {
    pub(crate) fn new(routes: &[Route]) -> Self {
        Self { first: routes.iter().take(MOST_ROUTES).cloned().collect(), total: routes.len() }
    }

    /// Logs each route with its app and subject.
    pub(crate) fn log(&self, namespace: &Namespace) {
        for route in &self.first {
            // An invalid name is an error before.
            let Ok(app) = route.app_name() else { continue };
            let (delivery, subject) = match route.durable {
                true => ("durable", namespace.task_subject(&app)),
                false => ("direct", namespace.call_subject(&app)),
            };
            tracing::info!(%route, %app, subject, delivery, "routing");
        }
        let more = self.total - self.first.len();
        if more > 0 {
            tracing::info!(more, "routing");
        }
        tracing::info!(%namespace, routes = self.total, "the gateway has its routes");
    }
}

fn text(request_id: &HeaderValue) -> &str {
    request_id.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use narun_support::testing::Logs;
    use tracing::Level;

    use super::*;

    #[test]
    fn what_fails_for_each_request_is_logged_once() {
        let (logs, log) = (Logs::capture(), FailureLog::default());
        let failure = Failure::new(FailureKind::BadResponse).with_cause("of this test");
        for id in ["first", "second"] {
            log.no_status(&failure, Some(&HeaderValue::from_static(id)));
            log.no_status(&FailureKind::UnknownRequest.into(), None);
        }
        let events = logs.events("the status cannot be returned", &[("cause", "of this test")]);
        let [(level, event)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((*level, &event["request_id"][..]), (Level::WARN, "first"));
    }
}
