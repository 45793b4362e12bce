//! Private parsers, for the fuzz targets. Not part of the API: it may change in any release.

use async_nats::jetstream::message::StreamMessage;
use async_nats::{HeaderMap, datetime};
use bytes::Bytes;
use narun_core::Namespace;
use narun_nats::jetstream::header;

use crate::DeadLetter;

/// Reads a dead letter of the default namespace. `values` are its time, reason and deliveries as in its headers.
pub fn dead_letter(subject: &str, values: [&str; 3], payload: &[u8]) -> DeadLetter {
    let mut headers = HeaderMap::new();
    for (name, value) in [header::ACCEPTED, header::REASON, header::DELIVERIES].into_iter().zip(values) {
        // Values that the client refuses never arrive.
        if let Ok(value) = value.parse::<async_nats::HeaderValue>() {
            headers.insert(name, value);
        }
    }
    let message = StreamMessage {
        subject: subject.into(),
        sequence: 1,
        headers,
        payload: Bytes::copy_from_slice(payload),
        time: datetime::now(),
    };
    DeadLetter::read(&message, &Namespace::default())
}

/// Reads the reply of a delivered message, and returns its delivery count. `None` if it is not an ack of this consumer.
pub fn delivery(reply: &str, stream: &str, consumer: &str) -> Option<u64> {
    crate::durable::delivery_count(reply, stream, consumer)
}
