use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use tonic::Code;

use crate::Method;

const CALLS: &str = "nats_grpc_calls_total";
const DURATION: &str = "nats_grpc_call_duration_seconds";
const IN_FLIGHT: &str = "nats_grpc_calls_in_flight";
const MESSAGES: &str = "nats_grpc_messages_total";
const BYTES: &str = "nats_grpc_message_bytes_total";
const SUBSCRIPTIONS: &str = "nats_grpc_subscriptions";
const AUDIT_DROPPED: &str = "nats_grpc_audit_dropped_total";

/// The number of gRPC codes.
const CODES: usize = 17;

/// The metrics of the service. No label has a value that a client chooses.
pub(crate) struct Metrics {
    methods: Vec<MethodMetrics>,
    pub(crate) subscriptions: Gauge,
}

/// The metrics of one method.
pub(crate) struct MethodMetrics {
    calls: [Counter; CODES],
    duration: Histogram,
    in_flight: Gauge,
    messages: Directions,
    bytes: Directions,
}

/// Counters from the client, and to the client.
struct Directions {
    received: Counter,
    sent: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe_counter!(CALLS, "Calls that have ended, by method and gRPC code");
        describe_histogram!(DURATION, Unit::Seconds, "From the start of a call to its end");
        describe_gauge!(IN_FLIGHT, "Calls that have not ended");
        describe_counter!(MESSAGES, "NATS messages carried for clients, by method and direction");
        describe_counter!(
            BYTES,
            Unit::Bytes,
            "Payload of the NATS messages, objects and values carried for clients"
        );
        describe_gauge!(
            SUBSCRIPTIONS,
            "Live subscriptions of Subscribe, QueueSubscribe, ConsumeMessages and KVWatch"
        );
        describe_counter!(AUDIT_DROPPED, "Audit records that were lost");
        Self {
            methods: Method::ALL.iter().map(|method| MethodMetrics::new(method.name())).collect(),
            subscriptions: gauge!(SUBSCRIPTIONS),
        }
    }

    /// The metrics of a method.
    pub(crate) fn of(&self, method: Method) -> &MethodMetrics {
        // The order of the enum is that of `Method::ALL`.
        &self.methods[method as usize]
    }
}

impl MethodMetrics {
    fn new(method: &'static str) -> Self {
        Self {
            calls: std::array::from_fn(|code| {
                let code = i32::try_from(code).map_or(Code::Unknown, Code::from_i32);
                counter!(CALLS, "method" => method, "code" => code_name(code))
            }),
            duration: histogram!(DURATION, "method" => method),
            in_flight: gauge!(IN_FLIGHT, "method" => method),
            messages: Directions::new(MESSAGES, method),
            bytes: Directions::new(BYTES, method),
        }
    }

    pub(crate) fn begun(&self) {
        self.in_flight.increment(1);
    }

    pub(crate) fn ended(&self, code: Code, duration: Duration) {
        self.in_flight.decrement(1);
        self.duration.record(duration);
        if let Some(counter) = self.calls.get(code as usize) {
            counter.increment(1);
        }
    }

    pub(crate) fn received(&self, messages: u64, bytes: u64) {
        self.messages.received.increment(messages);
        self.bytes.received.increment(bytes);
    }

    pub(crate) fn sent(&self, messages: u64, bytes: u64) {
        self.messages.sent.increment(messages);
        self.bytes.sent.increment(bytes);
    }
}

impl Directions {
    fn new(name: &'static str, method: &'static str) -> Self {
        Self {
            received: counter!(name, "method" => method, "direction" => "received"),
            sent: counter!(name, "method" => method, "direction" => "sent"),
        }
    }
}

/// Counts a lost audit record.
pub(crate) fn audit_dropped() {
    counter!(AUDIT_DROPPED).increment(1);
}

/// The name of a code, as gRPC writes it.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
