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
    events: RepeatedEvents<(App, Event)>,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Failed(FailureKind),
    Aborted(BodyErrorKind),
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
        } else if self.events.is_first(&(app.clone(), Event::Failed(failure.kind())), request_id) {
            tracing::warn!(
                %failure, cause, %app, route = route.template(), request_id, status = status.as_u16(),
                "the request failed"
            );
        }
    }

    /// A response was aborted after its head.
    pub(crate) fn aborted(&self, kind: BodyErrorKind, route: &CompiledRoute, request_id: &HeaderValue) {
        let (app, request_id) = (route.app(), text(request_id));
        if self.events.is_first(&(app.clone(), Event::Aborted(kind)), request_id) {
            tracing::warn!(%kind, %app, route = route.template(), request_id, "the response was aborted");
        }
    }

    /// Logs how many failures there were like one that was logged. Never completes.
    pub(crate) async fn summarize(&self) {
        let log = |(app, event), Summary { count, last }| {
            let last_request_id = last.as_str();
            match event {
                Event::Failed(kind) => {
                    let failure = Failure::new(kind);
                    tracing::warn!(%failure, %app, count, last_request_id, "more requests failed");
                }
                Event::Aborted(kind) => {
                    tracing::warn!(%kind, %app, count, last_request_id, "more responses were aborted");
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
