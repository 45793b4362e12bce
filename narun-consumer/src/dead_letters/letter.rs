use std::time::{Duration, SystemTime};

use async_nats::jetstream::message::StreamMessage;
use http::request;
use narun_core::frame::RequestFrame;
use narun_core::{ExchangeId, Limits, Namespace};
use narun_nats::jetstream::header;

/// A durable request that failed for good.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    sequence: u64,
    app: String,
    reason: String,
    deliveries: u64,
    accepted: Option<SystemTime>,
    /// `None` if the message is not a readable request.
    request: Option<(ExchangeId, request::Parts)>,
}

impl DeadLetter {
    pub(crate) fn read(message: &StreamMessage, namespace: &Namespace) -> Self {
        let subjects = namespace.dead_subjects();
        let app = message.subject.strip_prefix(subjects.trim_end_matches('>')).unwrap_or_default();
        let text = |name: &str| message.headers.get(name).map_or("", |value| value.as_str());
        let accepted = text(header::ACCEPTED).parse().ok().map(Duration::from_millis);
        let frame = RequestFrame::decode(&message.payload, &Limits::default().stored()).ok();
        Self {
            sequence: message.sequence,
            app: app.to_owned(),
            reason: text(header::REASON).to_owned(),
            deliveries: text(header::DELIVERIES).parse().unwrap_or_default(),
            accepted: accepted.and_then(|time| SystemTime::UNIX_EPOCH.checked_add(time)),
            request: frame.map(|frame| (frame.head.id, frame.parts)),
        }
    }

    /// The sequence in the stream of dead letters, for [`DeadLetters::put_back`](crate::DeadLetters::put_back) and
    /// [`DeadLetters::delete`](crate::DeadLetters::delete). Later dead letters have larger ones.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The app that the request was for.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Why it is a dead letter: a text of at most 256 visible ASCII characters.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How often the request was delivered.
    pub const fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// When the request was stored in its stream, or put back, by the server's clock. `None` if that is unknown.
    pub const fn accepted(&self) -> Option<SystemTime> {
        self.accepted
    }

    /// The id of the exchange, as in [`Received::id`](crate::Received::id). `None` if the message is not a readable
    /// request.
    pub fn id(&self) -> Option<ExchangeId> {
        self.request.as_ref().map(|(id, _)| *id)
    }

    /// The method, target, version and fields. `None` if the message is not a readable request.
    pub fn request(&self) -> Option<&request::Parts> {
        self.request.as_ref().map(|(_, parts)| parts)
    }
}
