use std::time::Duration;

use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tonic::{Code, Status};

use super::bucket::{Bucket, damaged, digest_text};
use crate::Connection;
use crate::pull::ordered::{Ordered, Placed};
use crate::pull::pulls::{PullLimits, Pulled, insist};
use crate::status;

/// Pieces that are asked for one by one, at most. For more, a consumer is made, which is faster once it is there.
const FEW: usize = 4;

/// How long an object may stay away, as while a cluster elects a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the pieces of an object in order, and checks size and digest.
pub(super) struct Reader {
    connection: Connection,
    bucket: String,
    subject: String,
    limits: PullLimits,
    pieces: Pieces,
    /// The sequence from which on the next piece is.
    sequence: u64,
    /// How many pieces are still to come.
    chunks: usize,
    size: usize,
    digest: Sha256,
    expected: Option<String>,
}

/// Where pieces come from.
enum Pieces {
    Few(Stream<()>),
    Many(Ordered),
}

impl Reader {
    pub(super) async fn open(
        connection: &Connection,
        bucket: &Bucket,
        info: &ObjectInfo,
    ) -> Result<Self, Status> {
        let (subject, sequence) = (bucket.chunks(&info.nuid), 1);
        // Of those that other clients have written larger, fewer come at a time.
        let largest = connection.client().max_payload() * 2;
        let limits = PullLimits { messages: FEW, bytes: 1 << 20, largest };
        let pieces = match info.chunks {
            ..=FEW => Pieces::Few(connection.bucket(&bucket.stream).await?),
            _ => Pieces::Many(ordered(connection, limits, &bucket.stream, &subject, sequence).await?),
        };
        Ok(Self {
            connection: connection.clone(),
            bucket: bucket.stream.clone(),
            subject,
            limits,
            pieces,
            sequence,
            chunks: info.chunks,
            size: info.size,
            digest: Sha256::new(),
            expected: info.digest.clone(),
        })
    }

    /// The next piece; none at the end, once all was found to be as it was written.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.chunks == 0 {
            let found = digest_text(self.digest.clone());
            let right = self.size == 0 && self.expected.as_ref().is_none_or(|expected| *expected == found);
            return if right { Ok(None) } else { Err(damaged()) };
        }
        let (sequence, piece) = self.piece().await?;
        self.sequence = sequence + 1;
        self.chunks -= 1;
        self.size = self.size.checked_sub(piece.len()).ok_or_else(damaged)?;
        self.digest.update(&piece);
        Ok(Some(piece))
    }

    /// A piece, and its sequence.
    async fn piece(&mut self) -> Result<(u64, Bytes), Status> {
        loop {
            let many = match &mut self.pieces {
                Pieces::Few(stream) => {
                    self.connection.mark()?;
                    return one(stream, &self.subject, self.sequence).await;
                }
                Pieces::Many(many) => many,
            };
            match many.pulls.next().await? {
                Pulled::Message(message) => {
                    if let Some(Placed { sequence, message, .. }) = many.take(message) {
                        return Ok((sequence, message.payload));
                    }
                }
                Pulled::Nothing => return Err(changed()),
                Pulled::Lost => {}
            }
            // Some of them are missing, or the consumer was lost with its server or the connection.
            let Self { connection, bucket, subject, limits, sequence, .. } = &*self;
            let again = insist(|| ordered(connection, *limits, bucket, subject, *sequence));
            let again = timeout(PATIENCE, again).await.map_err(|_| status::disconnected())??;
            self.pieces = Pieces::Many(again);
        }
    }
}

/// The first piece from this sequence on, and its own.
async fn one(stream: &Stream<()>, subject: &str, from: u64) -> Result<(u64, Bytes), Status> {
    let message = stream.direct_get_next_for_subject(subject, Some(from)).await;
    let message = message.map_err(|error| match error.kind() {
        DirectGetErrorKind::NotFound => changed(),
        DirectGetErrorKind::TimedOut => status::jetstream_late(),
        _ => status::no_jetstream(),
    })?;
    Ok((message.sequence, message.payload))
}

/// The pieces from this sequence on.
async fn ordered(
    connection: &Connection,
    limits: PullLimits,
    stream: &str,
    subject: &str,
    from: u64,
) -> Result<Ordered, Status> {
    let made = Ordered::make(connection, limits, stream, subject, Some(from)).await;
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
