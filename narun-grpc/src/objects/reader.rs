use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use data_encoding::BASE64URL;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use sha2::{Digest, Sha256};
use tonic::Status;

use super::{Bucket, damaged};
use crate::{Connection, status};

/// How many pieces are asked for at once, for one who takes them slowly.
const FEWEST_AHEAD: usize = 2;

/// The same, for one who would wait otherwise: enough to hide the time that an answer takes.
const MOST_AHEAD: usize = 16;

/// Reads the pieces of an object in order, a few ahead of what is wanted, and checks size and digest.
pub(super) struct Reader {
    stream: Stream<()>,
    connection: Connection,
    subject: String,
    /// The sequence from which on the next piece is.
    sequence: u64,
    /// The one from which on a piece is asked for next.
    asked: u64,
    /// The first piece from one sequence on, from the next one on, and so forth. Mostly these are different pieces; where
    /// other objects' lie between, some come twice, and none is left out.
    ahead: FuturesOrdered<BoxFuture<'static, Result<(u64, Bytes), Status>>>,
    /// How many these are to be.
    width: usize,
    /// How many pieces are still to come.
    chunks: usize,
    size: usize,
    digest: Sha256,
    expected: Option<String>,
}

impl Reader {
    pub(super) async fn open(
        connection: &Connection,
        bucket: &Bucket,
        info: &ObjectInfo,
    ) -> Result<Self, Status> {
        Ok(Self {
            stream: connection.bucket(&bucket.stream).await?,
            connection: connection.clone(),
            subject: bucket.chunks(&info.nuid),
            sequence: 1,
            asked: 1,
            ahead: FuturesOrdered::new(),
            width: FEWEST_AHEAD,
            chunks: info.chunks,
            size: info.size,
            digest: Sha256::new(),
            expected: info.digest.clone(),
        })
    }

    /// The next piece; none at the end, once all was found to be as it was written.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.chunks == 0 {
            let digest = self.digest.clone().finalize();
            let found = format!("SHA-256={}", BASE64URL.encode(&digest));
            let right = self.size == 0 && self.expected.as_ref().is_none_or(|expected| *expected == found);
            return if right { Ok(None) } else { Err(damaged()) };
        }
        self.connection.mark()?;
        loop {
            self.ask();
            let found = match self.ahead.next().now_or_never() {
                Some(found) => {
                    self.width = FEWEST_AHEAD.max(self.width - 1);
                    found
                }
                None => {
                    self.width = MOST_AHEAD.min(self.width * 2);
                    self.ahead.next().await
                }
            };
            let (sequence, piece) = found.ok_or_else(damaged)??;
            // One that another question has found before is passed over.
            if sequence >= self.sequence {
                self.sequence = sequence + 1;
                self.asked = self.asked.max(self.sequence);
                self.chunks -= 1;
                self.size = self.size.checked_sub(piece.len()).ok_or_else(damaged)?;
                self.digest.update(&piece);
                return Ok(Some(piece));
            }
        }
    }

    /// Asks for as many pieces as there still are, but a few: so no question is for what lies behind the last one.
    fn ask(&mut self) {
        while self.ahead.len() < self.chunks.min(self.width) {
            let (stream, subject, from) = (self.stream.clone(), self.subject.clone(), self.asked);
            self.ahead.push_back(Box::pin(async move {
                let message = stream.direct_get_next_for_subject(subject, Some(from)).await;
                let message = message.map_err(|error| match error.kind() {
                    // Another version has taken its place meanwhile, or it was deleted.
                    DirectGetErrorKind::NotFound => {
                        Status::aborted("the object was changed while it was read")
                    }
                    DirectGetErrorKind::TimedOut => status::jetstream_late(),
                    _ => status::no_jetstream(),
                })?;
                Ok((message.sequence, message.payload))
            }));
            self.asked += 1;
        }
    }
}
