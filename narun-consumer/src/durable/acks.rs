//! Acknowledgements: what the server is told of a delivery, and where.

use std::time::{Duration, SystemTime};

use async_nats::{Client, Subject};
use bytes::Bytes;
use futures::FutureExt;

/// What the server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// It is done, and leaves the stream.
    Done,
    /// It is being worked on: the ack wait begins anew.
    Working,
    /// It is given back, to be delivered again after this time.
    Again(Duration),
    /// It is never delivered again, and leaves the stream.
    Never,
}

/// What the subject of a delivery's acknowledgement tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivered {
    /// How often it has been delivered, this time included.
    pub(super) count: u64,
    /// Its sequence in the stream.
    pub(super) sequence: u64,
    /// When the server stored it, in nanoseconds since 1970.
    nanos: u64,
}

/// The acknowledgement of one delivery; given back when dropped without another word.
#[derive(Debug)]
pub(super) struct Claim {
    client: Client,
    subject: Subject,
    settled: bool,
}

impl Ack {
    fn payload(self) -> Bytes {
        match self {
            Self::Done => Bytes::from_static(b"+ACK"),
            Self::Working => Bytes::from_static(b"+WPI"),
            Self::Again(Duration::ZERO) => Bytes::from_static(b"-NAK"),
            Self::Again(delay) => format!("-NAK {{\"delay\":{}}}", delay.as_nanos()).into(),
            Self::Never => Bytes::from_static(b"+TERM"),
        }
    }
}

impl Delivered {
    /// Reads an acknowledgement's subject. None if it is not one of this stream's consumer: whoever could make a
    /// consumer publish elsewhere would use its rights.
    ///
    /// Servers up to 2.11 and later ones by default: `$JS.ACK.<stream>.<consumer>.<count>.<stream sequence>.<consumer
    /// sequence>.<time>.<pending>`. Otherwise with `<domain>.<account>.` before the stream, and perhaps more at the end.
    pub(super) fn read(subject: &str, stream: &str, consumer: &str) -> Option<Self> {
        let rest = subject.strip_prefix("$JS.ACK.")?;
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'*' && byte != b'>';
        if subject.len() > 512 || !rest.bytes().all(plain) {
            return None;
        }
        let tokens: Vec<_> = rest.split('.').collect();
        let tokens = match tokens.len() {
            7 => &tokens[..],
            9.. => &tokens[2..],
            _ => return None,
        };
        let [of_stream, of_consumer, count, sequence, _, nanos, ..] = tokens else { return None };
        if *of_stream != stream || *of_consumer != consumer || tokens.iter().any(|token| token.is_empty()) {
            return None;
        }
        Some(Self {
            count: count.parse().ok()?,
            sequence: sequence.parse().ok()?,
            nanos: nanos.parse().ok()?,
        })
    }

    /// When the server stored it.
    pub(super) fn stored(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.nanos)
    }

    /// The same in milliseconds since 1970.
    pub(super) const fn stored_millis(&self) -> u64 {
        self.nanos / 1_000_000
    }
}

impl Claim {
    pub(super) const fn new(client: Client, subject: Subject) -> Self {
        Self { client, subject, settled: false }
    }

    /// The last word. A dead client is noticed by whoever reads from it.
    pub(super) async fn settle(&mut self, ack: Ack) {
        self.settled = true;
        let _ = self.client.publish(self.subject.clone(), ack.payload()).await;
    }

    /// The last word, which the server confirms to this subject.
    pub(super) async fn settle_confirmed(&mut self, ack: Ack, confirmation: Subject) {
        self.settled = true;
        let _ = self.client.publish_with_reply(self.subject.clone(), confirmation, ack.payload()).await;
    }

    /// Tells that work goes on; not at all if the client's queue is full.
    pub(super) fn working(&self) {
        self.publish_now(Ack::Working);
    }

    fn publish_now(&self, ack: Ack) {
        let _ = self.client.publish(self.subject.clone(), ack.payload()).now_or_never();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            self.publish_now(Ack::Again(Duration::ZERO));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms() {
        for subject in [
            "$JS.ACK.TASK.hello.3.17.40.1500000000000000000.9",
            "$JS.ACK._.hash.TASK.hello.3.17.40.1500000000000000000.9",
            "$JS.ACK.hub.hash.TASK.hello.3.17.40.1500000000000000000.9.random.more",
        ] {
            let delivered = Delivered::read(subject, "TASK", "hello").expect(subject);
            assert_eq!((delivered.count, delivered.sequence), (3, 17));
            assert_eq!(delivered.stored(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000));
            assert_eq!(delivered.stored_millis(), 1_500_000_000_000);
        }
    }

    #[test]
    fn refuses_what_is_of_another_consumer_or_none_at_all() {
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
            "$JS.ACK.TASK.hello.3.17.40.1500000000000000000.9\r\nPUB",
        ] {
            assert_eq!(Delivered::read(subject, "TASK", "hello"), None, "{subject}");
        }
    }

    #[test]
    fn says_it_as_the_server_wants_it() {
        assert_eq!(Ack::Done.payload(), "+ACK");
        assert_eq!(Ack::Again(Duration::ZERO).payload(), "-NAK");
        assert_eq!(Ack::Again(Duration::from_secs(2)).payload(), "-NAK {\"delay\":2000000000}");
        assert_eq!(Ack::Never.payload(), "+TERM");
    }
}
