use std::time::Duration;

use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use narun_nats::jetstream::objects::{ObjectCheck, ObjectInfo, digest_text};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::bucket::{Bucket, damaged};
use crate::Connection;
use crate::pull::ordered::{OrderedConsumer, OrderedMessage};
use crate::pull::pulls::{PullLimits, Pulled, retry_later};
use crate::status;

/// How many chunks are requested one by one, at most. For more, an ordered consumer is made, which is faster once it
/// exists.
const FEW: usize = 4;

/// How long reading is retried, such as while a cluster elects a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the chunks of an object in order, and checks size and digest.
///
/// A few chunks are read with direct gets, again if the connection is lost, more through an ordered consumer, which is faster. narun-nats's store of bodies
/// reads otherwise: one chunk after the other from the leader of the stream, which never misses a chunk.
pub(super) struct Reader {
    connection: Connection,
    bucket: String,
    subject: String,
    limits: PullLimits,
    source: Source,
    /// The lowest sequence that the next chunk can have.
    sequence: u64,
    /// How many chunks have not been read.
    chunks: usize,
    check: ObjectCheck,
    /// The digest that the description has.
    expected: Option<String>,
}

/// Where chunks come from.
enum Source {
    Few(Stream<()>),
    Many(OrderedConsumer),
}

impl Reader {
    pub(super) async fn open(
        connection: &Connection,
        bucket: &Bucket,
        info: &ObjectInfo,
    ) -> Result<Self, Status> {
        let (subject, sequence) = (bucket.chunks(&info.nuid), 1);
        // Other clients may have written larger chunks, of which fewer come at a time.
        let largest = connection.client().max_payload() * 2;
        let limits = PullLimits { messages: FEW, bytes: 1 << 20, largest };
        let source = match info.chunks {
            ..=FEW => Source::Few(connection.bucket(&bucket.stream).await?),
            _ => Source::Many(ordered(connection, limits, &bucket.stream, &subject, sequence).await?),
        };
        Ok(Self {
            connection: connection.clone(),
            bucket: bucket.stream.clone(),
            subject,
            limits,
            source,
            sequence,
            chunks: info.chunks,
            check: ObjectCheck::new(info.size as u64),
            expected: info.digest.clone(),
        })
    }

    /// Returns the next chunk, or `None` at the end. DATA_LOSS if size or digest are wrong.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.chunks == 0 {
            let digest = self.check.digest().ok_or_else(damaged)?;
            let right = self.expected.as_ref().is_none_or(|expected| *expected == digest_text(&digest));
            return if right { Ok(None) } else { Err(damaged()) };
        }
        let (sequence, chunk) = self.chunk().await?;
        self.sequence = sequence + 1;
        self.chunks -= 1;
        if !self.check.add(&chunk) {
            return Err(damaged());
        }
        Ok(Some(chunk))
    }

    /// The next chunk and its sequence.
    async fn chunk(&mut self) -> Result<(u64, Bytes), Status> {
        loop {
            let many = match &mut self.source {
                Source::Few(stream) => {
                    self.connection.mark()?;
                    let one = || one(stream, &self.subject, self.sequence);
                    return self.connection.repeat(one).await;
                }
                Source::Many(many) => many,
            };
            match many.pulls.next().await? {
                Pulled::Message(message) => {
                    if let Some(OrderedMessage { sequence, message, .. }) = many.take(message) {
                        return Ok((sequence, message.payload));
                    }
                }
                Pulled::Nothing => return Err(changed()),
                Pulled::Lost => {}
            }
            // A chunk is missing, or the consumer was lost with its server or the connection.
            let Self { connection, bucket, subject, limits, sequence, .. } = &*self;
            let again = retry_later(|| ordered(connection, *limits, bucket, subject, *sequence));
            let again = timeout(PATIENCE, again).await.map_err(|_| status::disconnected())??;
            self.source = Source::Many(again);
        }
    }
}

/// The first chunk from this sequence on, and its sequence.
async fn one(stream: &Stream<()>, subject: &str, from: u64) -> Result<(u64, Bytes), Status> {
    let message = stream.direct_get_next_for_subject(subject, Some(from)).await;
    let message = message.map_err(|error| match error.kind() {
        DirectGetErrorKind::NotFound => changed(),
        DirectGetErrorKind::TimedOut => status::jetstream_late(),
        _ => status::no_jetstream(),
    })?;
    Ok((message.sequence, message.payload))
}

/// A consumer of the chunks from this sequence on.
async fn ordered(
    connection: &Connection,
    limits: PullLimits,
    stream: &str,
    subject: &str,
    from: u64,
) -> Result<OrderedConsumer, Status> {
    let made = OrderedConsumer::create(connection, limits, stream, subject, Some(from)).await;
    let (mut ordered, _) = made.map_err(|status| match status.code() {
        Code::NotFound => changed(),
        _ => status,
    })?;
    // All of them are there.
    ordered.pulls.wait = false;
    Ok(ordered)
}

/// Another version has taken its place meanwhile, or it was deleted.
fn changed() -> Status {
    Status::aborted("the object was changed while it was read")
}
