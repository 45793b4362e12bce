use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use narun_core::exchange::Cancelled;
use narun_nats::inbox::Notice;

const REQUESTS: &str = "http_consumer_requests_total";
const DURATION: &str = "http_consumer_request_duration_seconds";
const IN_FLIGHT: &str = "http_consumer_requests_in_flight";
const QUEUED: &str = "http_consumer_requests_queued";
const REFUSED: &str = "http_consumer_refused_total";
const CANCELLED: &str = "http_consumer_cancelled_total";
const STREAM_RESETS: &str = "http_consumer_stream_resets_total";
const FAILED: &str = "http_consumer_handler_failures_total";
const DISCARDED: &str = "http_consumer_discarded_total";
const REDELIVERED: &str = "http_consumer_redelivered_total";
const DEAD_LETTERED: &str = "http_consumer_dead_lettered_total";
const EXPIRED: &str = "http_consumer_expired_total";
const DUPLICATES: &str = "http_consumer_duplicates_total";
const JOINED: &str = "http_consumer_joined_total";
const NOT_STORED: &str = "http_consumer_not_stored_total";
const PENDING: &str = "http_consumer_pending";

/// The metrics of an app's consumer.
pub(crate) struct Metrics {
    app: String,
    duration: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) queued: Gauge,
    /// By class of status, 1xx to 5xx.
    requests: [Counter; 5],
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    Overloaded,
    BadFrame,
    Version,
}

/// Why a handler gave no response.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HandlerFailure {
    Panic,
    Error,
    TooLarge,
    /// Durable requests: the handler timed out.
    TimedOut,
    /// Durable requests: a status of 500 or more, if that is a failure.
    Status,
}

/// What was not stored because the storage was full.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotStored {
    /// A response: its outcome says only that the request is done.
    Response,
    /// An outcome: the request stays pending there, although it is done.
    Outcome,
    /// A dead letter, for now: it stays in the stream of requests.
    DeadLetter,
}

impl NotStored {
    /// The name in metrics and logs.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Outcome => "outcome",
            Self::DeadLetter => "dead_letter",
        }
    }
}

/// The metrics of an app's durable requests.
pub(crate) struct DurableMetrics {
    app: String,
    pub(crate) redelivered: Counter,
    pub(crate) expired: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) joined: Counter,
    pub(crate) pending: Gauge,
}

impl Metrics {
    pub(crate) fn new(app: &str) -> Self {
        describe_counter!(REQUESTS, "Requests handled, by the class of the response's status");
        describe_histogram!(DURATION, Unit::Seconds, "From the receipt of a request to its response's head");
        describe_gauge!(IN_FLIGHT, "Requests in a handler");
        describe_gauge!(QUEUED, "Requests waiting for a slot");
        describe_counter!(REFUSED, "Requests refused before they were executed");
        describe_counter!(CANCELLED, "Requests cancelled before their response was complete");
        describe_counter!(STREAM_RESETS, "Exchanges with a streamed body that ended early");
        describe_counter!(FAILED, "Handlers that returned no usable response");
        describe_counter!(DISCARDED, "Messages that belong to no exchange");
        let class =
            |class: &'static str| counter!(REQUESTS, "app" => app.to_owned(), "status_class" => class);
        Self {
            duration: histogram!(DURATION, "app" => app.to_owned()),
            in_flight: gauge!(IN_FLIGHT, "app" => app.to_owned()),
            queued: gauge!(QUEUED, "app" => app.to_owned()),
            requests: ["1xx", "2xx", "3xx", "4xx", "5xx"].map(class),
            app: app.to_owned(),
        }
    }

    pub(crate) fn handled(&self, status: http::StatusCode, duration: Duration) {
        if let Some(counter) = self.requests.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            counter.increment(1);
        }
        self.duration.record(duration);
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        let reason = match refusal {
            Refusal::Overloaded => "overloaded",
            Refusal::BadFrame => "bad_frame",
            Refusal::Version => "version",
        };
        counter!(REFUSED, "app" => self.app.clone(), "reason" => reason).increment(1);
    }

    /// Counts a cancelled request; `is_streamed` if it had a streamed body.
    pub(crate) fn cancelled(&self, why: Cancelled, is_streamed: bool) {
        let reason = match why {
            Cancelled::Gone => "gone",
            Cancelled::Deadline => "deadline",
            Cancelled::Idle => "idle",
            Cancelled::Broken => "broken",
            _ => "caller",
        };
        if is_streamed {
            self.stream_reset(reason);
        }
        counter!(CANCELLED, "app" => self.app.clone(), "reason" => reason).increment(1);
    }

    /// Counts a streamed body that ended early.
    pub(crate) fn stream_reset(&self, reason: &'static str) {
        counter!(STREAM_RESETS, "app" => self.app.clone(), "reason" => reason).increment(1);
    }

    pub(crate) fn failed(&self, failure: HandlerFailure) {
        let reason = match failure {
            HandlerFailure::Panic => "panic",
            HandlerFailure::Error => "error",
            HandlerFailure::TooLarge => "too_large",
            HandlerFailure::TimedOut => "timed_out",
            HandlerFailure::Status => "status",
        };
        counter!(FAILED, "app" => self.app.clone(), "reason" => reason).increment(1);
    }
}

impl DurableMetrics {
    pub(crate) fn new(app: &str) -> Self {
        describe_counter!(REDELIVERED, "Durable requests delivered again");
        describe_counter!(DEAD_LETTERED, "Durable requests that became dead letters");
        describe_counter!(EXPIRED, "Durable requests that expired before they were handled");
        describe_counter!(DUPLICATES, "Durable requests that had been done already");
        describe_counter!(JOINED, "Deliveries of requests that ran, or were done, in the same process");
        describe_counter!(NOT_STORED, "What was not stored because JetStream's storage was full");
        describe_gauge!(PENDING, "Durable requests waiting in the stream");
        Self {
            redelivered: counter!(REDELIVERED, "app" => app.to_owned()),
            expired: counter!(EXPIRED, "app" => app.to_owned()),
            duplicates: counter!(DUPLICATES, "app" => app.to_owned()),
            joined: counter!(JOINED, "app" => app.to_owned()),
            pending: gauge!(PENDING, "app" => app.to_owned()),
            app: app.to_owned(),
        }
    }

    pub(crate) fn dead_lettered(&self, reason: &'static str) {
        counter!(DEAD_LETTERED, "app" => self.app.clone(), "reason" => reason).increment(1);
    }

    pub(crate) fn not_stored(&self, what: NotStored) {
        counter!(NOT_STORED, "app" => self.app.clone(), "what" => what.label()).increment(1);
    }
}

/// Counts a message without a reply subject, or with one outside the inbox prefixes.
pub(crate) fn foreign_reply() {
    discarded(Notice::ForeignReply);
}

pub(crate) fn discarded(notice: Notice) {
    let reason = match notice {
        Notice::Junk => "junk",
        Notice::Unknown => "unknown_exchange",
        Notice::ForeignReply => "foreign_reply",
        Notice::Overflow => "overflow",
    };
    counter!(DISCARDED, "reason" => reason).increment(1);
}
