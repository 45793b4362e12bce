//! Acks: their payloads, and what their subjects say.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

/// The kinds of acks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckKind {
    /// The request is done, and removed from the stream.
    Ack,
    /// The request is being handled: the ack wait starts again.
    Progress,
    /// The request is delivered again after this delay.
    Nak(Duration),
    /// The request is never delivered again, and removed from the stream.
    Term,
}

/// What the ack subject of a delivery says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeliveryInfo {
    /// How often the message has been delivered, including this time.
    pub(super) count: u64,
    /// The sequence in the stream.
    pub(super) sequence: u64,
    /// When the server stored the message, in nanoseconds since 1970.
    nanos: u64,
}

/// Identifies a message, also if its stream was deleted and created again, or put back to an earlier state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MessageKey {
    pub(super) sequence: u64,
    pub(super) nanos: u64,
}

impl AckKind {
    pub(super) fn payload(self) -> Bytes {
        match self {
            Self::Ack => Bytes::from_static(b"+ACK"),
            Self::Progress => Bytes::from_static(b"+WPI"),
            Self::Nak(Duration::ZERO) => Bytes::from_static(b"-NAK"),
            Self::Nak(delay) => format!("-NAK {{\"delay\":{}}}", delay.as_nanos()).into(),
            Self::Term => Bytes::from_static(b"+TERM"),
        }
    }
}

impl DeliveryInfo {
    /// Reads an ack subject. Returns `None` if it does not belong to this consumer of this stream: otherwise a
    /// client could make the consumer publish to another subject with its permissions.
    ///
    /// The format of servers up to 2.11, and of later ones by default: `$JS.ACK.<stream>.<consumer>.<count>.<stream sequence>.<consumer
    /// sequence>.<time>.<pending>`. Otherwise `<domain>.<account>.` comes before the stream, and more tokens may follow at the end.
    pub(super) fn read(subject: &str, stream: &str, consumer: &str) -> Option<Self> {
        let rest = subject.strip_prefix("$JS.ACK.")?;
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'*' && byte != b'>';
        if subject.len() > 512 || !rest.bytes().all(plain) {
            return None;
        }
        let tokens: Vec<_> = rest.split('.').collect();
        if tokens.iter().any(|token| token.is_empty()) {
            return None;
        }
        let tokens = match tokens.len() {
            7 => &tokens[..],
            9.. => &tokens[2..],
            _ => return None,
        };
        let [of_stream, of_consumer, count, sequence, _, nanos, ..] = tokens else { return None };
        if *of_stream != stream || *of_consumer != consumer {
            return None;
        }
        Some(Self {
            count: count.parse().ok()?,
            sequence: sequence.parse().ok()?,
            nanos: nanos.parse().ok()?,
        })
    }

    pub(super) const fn key(&self) -> MessageKey {
        MessageKey { sequence: self.sequence, nanos: self.nanos }
    }

    /// When the server stored the message.
    pub(super) fn stored(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.nanos)
    }

    /// When the server stored the message, in milliseconds since 1970.
    pub(super) const fn stored_millis(&self) -> u64 {
        self.nanos / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        for subject in [
            "$JS.ACK.TASK.hello.3.17.40.1500000000000000000.9",
            "$JS.ACK._.hash.TASK.hello.3.17.40.1500000000000000000.9",
            "$JS.ACK.hub.hash.TASK.hello.3.17.40.1500000000000000000.9.random.more",
        ] {
            let delivered = DeliveryInfo::read(subject, "TASK", "hello").expect(subject);
            assert_eq!((delivered.count, delivered.sequence), (3, 17));
            assert_eq!(delivered.stored(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000));
            assert_eq!(delivered.stored_millis(), 1_500_000_000_000);
        }
    }

    #[test]
    fn a_subject_of_another_consumer_is_refused() {
        for subject in [
            "",
            "_INBOX.a.b",
            "$JS.API.STREAM.DELETE.TASK",
            "$JS.ACK.TASK.hello",
            "$JS.ACK.TASK.other.3.17.40.1500000000000000000.9",
            "$JS.ACK.OTHER.hello.3.17.40.1500000000000000000.9",
            "$JS.ACK.TASK.hello.3.17.40.1500000000000000000",
            "$JS.ACK.TASK.hello.x.17.40.1500000000000000000.9",
            "$JS.ACK.TASK.hello.3.17.40.1500000000000000000.*",
            "$JS.ACK.TASK.hello.3.17..1500000000000000000.9",
            "$JS.ACK._.hash.OTHER.hello.3.17.40.1500000000000000000.9",
            "$JS.ACK..hash.TASK.hello.3.17.40.1500000000000000000.9",
            "$JS.ACK.TASK.hello.3.17.40.1500000000000000000.9\r\nPUB",
        ] {
            assert_eq!(DeliveryInfo::read(subject, "TASK", "hello"), None, "{subject}");
        }
    }

    #[test]
    fn payloads_are_those_of_nats() {
        assert_eq!(AckKind::Ack.payload(), "+ACK");
        assert_eq!(AckKind::Nak(Duration::ZERO).payload(), "-NAK");
        assert_eq!(AckKind::Nak(Duration::from_secs(2)).payload(), "-NAK {\"delay\":2000000000}");
        assert_eq!(AckKind::Term.payload(), "+TERM");
    }
}
