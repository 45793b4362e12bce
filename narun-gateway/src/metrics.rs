use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use narun_core::FailureKind;
use narun_nats::inbox::Notice;

const REQUESTS: &str = "http_gateway_requests_total";
const DURATION: &str = "http_gateway_request_duration_seconds";
const NATS_REQUESTS: &str = "http_gateway_nats_requests_total";
const IN_FLIGHT: &str = "http_gateway_requests_in_flight";
const REQUEST_BYTES: &str = "http_gateway_request_body_bytes_total";
const RESPONSE_BYTES: &str = "http_gateway_response_body_bytes_total";
const STREAM_RESETS: &str = "http_gateway_stream_resets_total";
const RETRIES: &str = "http_gateway_retries_total";
const DURABLE_PUBLISHES: &str = "http_gateway_durable_publishes_total";
const INBOX: &str = "http_gateway_inbox_discarded_total";

/// The status of a request whose HTTP client left: that of nginx, because HTTP has none.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Describes the metrics.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "HTTP requests that matched a route");
    describe_histogram!(DURATION, Unit::Seconds, "Time from an HTTP request's head to its response's head");
    describe_counter!(NATS_REQUESTS, "Requests over NATS by their outcome");
    describe_gauge!(IN_FLIGHT, "HTTP requests without a response head yet");
    describe_counter!(REQUEST_BYTES, Unit::Bytes, "Body bytes sent to consumers");
    describe_counter!(RESPONSE_BYTES, Unit::Bytes, "Body bytes received from consumers");
    describe_counter!(STREAM_RESETS, "Responses aborted after their head");
    describe_counter!(RETRIES, "Requests retried over NATS");
    describe_counter!(DURABLE_PUBLISHES, "Durable requests by the result of their publishing");
    describe_counter!(INBOX, "Messages to the gateway's inbox that were discarded");
}

pub(crate) fn inbox(notice: Notice) {
    let reason = match notice {
        Notice::Junk => "junk",
        Notice::Unknown => "unknown_exchange",
        Notice::ForeignReply => "foreign_reply",
        Notice::Overflow => "overflow",
    };
    counter!(INBOX, "reason" => reason).increment(1);
}

/// The metrics of a route. Handles are created when they are first used, so that a recorder may be installed until the first
/// request, and an unused route costs nothing.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    path: Arc<str>,
    subject: Arc<str>,
    by_method: [OnceLock<Box<MethodMetrics>>; METHODS.len() + 1],
    common: OnceLock<Box<CommonMetrics>>,
    /// The counter of durable requests that were accepted.
    accepted: OnceLock<Handle<Counter>>,
}

const METHODS: [Method; 8] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::HEAD,
    Method::PATCH,
    Method::OPTIONS,
    Method::TRACE,
];

/// How many counters of statuses a method caches.
const STATUSES: usize = 6;

#[derive(Debug)]
struct MethodMetrics {
    method: &'static str,
    duration: Handle<Histogram>,
    statuses: [OnceLock<(u16, Handle<Counter>)>; STATUSES],
}

#[derive(Debug)]
struct CommonMetrics {
    in_flight: Handle<Gauge>,
    request_bytes: Handle<Counter>,
    response_bytes: Handle<Counter>,
    success: Handle<Counter>,
}

/// A metric's handle. Implements `Debug`, which the handle does not.
struct Handle<T>(T);

impl<T> std::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl RouteMetrics {
    pub(crate) fn new(path: &str, subject: &str) -> Self {
        Self {
            path: path.into(),
            subject: subject.into(),
            by_method: Default::default(),
            common: OnceLock::new(),
            accepted: OnceLock::new(),
        }
    }

    /// A request was received.
    pub(crate) fn begin(&self) {
        self.common().in_flight.0.increment(1.0);
    }

    /// A request got the head of its response, or was cancelled if `status` is `None`.
    pub(crate) fn end(&self, method: &Method, status: Option<StatusCode>, duration: Duration) {
        self.common().in_flight.0.decrement(1.0);
        let metrics = self.method(method);
        metrics.duration.0.record(duration);
        self.count(metrics, status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16()));
    }

    /// Bytes of a request's body were sent.
    pub(crate) fn sent(&self, body: usize) {
        self.common().request_bytes.0.increment(body as u64);
    }

    /// Bytes of a response's body were received after its head.
    pub(crate) fn received(&self, body: usize) {
        self.common().response_bytes.0.increment(body as u64);
    }

    /// A response was aborted after its head.
    pub(crate) fn reset(&self, reason: &'static str) {
        counter!(STREAM_RESETS, "path" => self.path.to_string(), "reason" => reason).increment(1);
    }

    /// A durable request with a body of this size was published, `times` times. The outcome is whether it is a duplicate, or why
    /// it was not confirmed.
    pub(crate) fn published(&self, outcome: Result<bool, FailureKind>, body: u64, times: u32) {
        self.common().request_bytes.0.increment(body);
        self.sent_again(times.saturating_sub(1));
        let status = match outcome {
            Ok(false) => {
                return self.accepted.get_or_init(|| Handle(self.publishes("accepted"))).0.increment(1);
            }
            Ok(true) => "duplicate",
            Err(FailureKind::StreamFull) => "full",
            Err(FailureKind::StreamMissing) => "missing",
            Err(FailureKind::ContentTooLarge) => "too_large",
            Err(FailureKind::NotConfirmed) => "unconfirmed",
            Err(_) => "unavailable",
        };
        self.publishes(status).increment(1);
    }

    fn sent_again(&self, times: u32) {
        if times > 0 {
            counter!(RETRIES, "path" => self.path.to_string()).increment(times.into());
        }
    }

    fn publishes(&self, status: &'static str) -> Counter {
        counter!(DURABLE_PUBLISHES, "subject" => self.subject.to_string(), "status" => status)
    }

    /// An exchange ended with the first bytes of a response's body, with a failure, or with `None` if it was cancelled.
    pub(crate) fn exchanged(&self, outcome: Option<Result<usize, FailureKind>>, attempts: u8) {
        self.sent_again(u32::from(attempts.saturating_sub(1)));
        let status = match outcome {
            Some(Ok(body)) => {
                self.common().response_bytes.0.increment(body as u64);
                self.common().success.0.increment(1);
                return;
            }
            Some(Err(FailureKind::TimedOut | FailureKind::NotConfirmed | FailureKind::ResponseLate)) => {
                "timeout"
            }
            Some(Err(FailureKind::RequestTimedOut)) => "client_timeout",
            Some(Err(FailureKind::NoConsumer)) => "no_responders",
            Some(Err(FailureKind::Overloaded | FailureKind::Draining)) => "refused",
            Some(Err(_)) => "error",
            None => "cancelled",
        };
        self.nats_requests(status).increment(1);
    }

    fn nats_requests(&self, status: &'static str) -> Counter {
        counter!(NATS_REQUESTS, "subject" => self.subject.to_string(), "status" => status)
    }

    fn common(&self) -> &CommonMetrics {
        self.common.get_or_init(|| {
            let path = || self.path.to_string();
            Box::new(CommonMetrics {
                in_flight: Handle(gauge!(IN_FLIGHT, "path" => path())),
                request_bytes: Handle(counter!(REQUEST_BYTES, "path" => path())),
                response_bytes: Handle(counter!(RESPONSE_BYTES, "path" => path())),
                success: Handle(self.nats_requests("success")),
            })
        })
    }

    fn method(&self, method: &Method) -> &MethodMetrics {
        let known = METHODS.iter().position(|known| known == method);
        let index = known.unwrap_or(METHODS.len());
        self.by_method[index].get_or_init(|| {
            let method = known.map_or("other", |index| label(&METHODS[index]));
            let path = self.path.to_string();
            Box::new(MethodMetrics {
                method,
                duration: Handle(histogram!(DURATION, "method" => method, "path" => path)),
                statuses: Default::default(),
            })
        })
    }

    fn count(&self, metrics: &MethodMetrics, status: u16) {
        let register = || {
            let labels = [
                ("method", metrics.method.to_owned()),
                ("path", self.path.to_string()),
                ("status_code", status.to_string()),
            ];
            counter!(REQUESTS, &labels)
        };
        for slot in &metrics.statuses {
            let (slot_status, counter) = slot.get_or_init(|| (status, Handle(register())));
            if *slot_status == status {
                return counter.0.increment(1);
            }
        }
        register().increment(1);
    }
}

/// The method as a label.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        _ => "other",
    }
}
