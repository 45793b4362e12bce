//! Stores the body of a durable request as an object while it is received.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use narun_core::frame::ObjectRef;
use narun_core::{ExchangeId, Failure, FailureKind};
use narun_nats::jetstream::{BodyStore, BodyUpload};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::admission::Admission;
use crate::body::BoxError;
use crate::held::HeldBytes;
use crate::jetstream::{Background, StoredBody, storing_failed};
use crate::pace::Pace;
use crate::request::failures::too_large;

/// The most bytes that are written at once.
const PART: usize = 64 * 1024;

/// The room for what is read at once. HTTP servers read no more, or little.
const READ: usize = 128 * 1024;

/// A body to be stored, of which the first bytes were received.
pub(super) struct Upload<B> {
    pub(super) id: ExchangeId,
    /// The bytes that are in memory, which `held` counts.
    pub(super) first: Bytes,
    /// The bytes after them, which `held` does not count.
    pub(super) next: Bytes,
    /// The bytes after these.
    pub(super) body: B,
    pub(super) pace: Pace,
    pub(super) held: HeldBytes,
    /// The room in the bucket for the bytes that were received, at least.
    pub(super) admission: Admission,
    /// The most bytes of the body.
    pub(super) limit: usize,
    /// How long to wait for room in memory.
    pub(super) patience: Duration,
}

/// A body that was received and stored, with its trailers.
type Received<T> = Result<(T, Option<HeaderMap>), Failure>;

/// What was not received yet, or is not counted.
struct Rest<B> {
    next: Bytes,
    body: B,
    pace: Pace,
    limit: usize,
    patience: Duration,
}

/// The way of a body's bytes into the bucket, and what they take of memory and of the bucket.
struct Storing {
    upload: BodyUpload,
    held: HeldBytes,
    admission: Admission,
}

impl<B> Upload<B>
where
    B: http_body::Body + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Receives the body in a task, which holds a few chunks in memory, however long the body is. Cancel safe: the task then
    /// ends, and deletes what it has stored.
    pub(super) async fn run(self, background: &Arc<Background>, bodies: BodyStore) -> Received<StoredBody> {
        let (mut client, response) = oneshot::channel();
        let owner = Arc::downgrade(background);
        background.spawn(async move {
            let Self { id, first, next, body, pace, held, admission, limit, patience } = self;
            let mut storing = Storing { upload: bodies.upload(id), held, admission };
            let rest = Rest { next, body, pace, limit, patience };
            match rest.receive(first, &mut storing, &mut client).await {
                Ok((object, trailers)) => {
                    // If the client is gone, this drops the body, which deletes the object.
                    let _ = client.send(Ok((StoredBody::new(owner, bodies, object), trailers)));
                }
                Err(failure) => {
                    let _ = client.send(Err(failure));
                    storing.discard().await;
                }
            }
        });
        response.await.unwrap_or_else(|_| Err(FailureKind::JetStreamUnavailable.into()))
    }
}

impl<B> Rest<B>
where
    B: http_body::Body + Unpin,
    B::Error: Into<BoxError>,
{
    async fn receive<T>(
        self,
        first: Bytes,
        storing: &mut Storing,
        client: &mut oneshot::Sender<T>,
    ) -> Received<ObjectRef> {
        let Self { next, mut body, mut pace, limit, patience } = self;
        let mut length = first.len() + next.len();
        storing.write(first).await?;
        storing.make_room(next.len()).await?;
        unless_closed(client, storing.held.grow(next.len().min(READ), patience)).await?;
        let (mut trailers, mut part) = (None, next);
        loop {
            if length > limit {
                return Err(too_large(limit));
            }
            let waited = pace.waited();
            let admitted = timeout(patience, storing.admission.arrived(length as u64, waited));
            unless_closed(client, async {
                let admitted = admitted.await.map_err(|_| FailureKind::JetStreamUnavailable)?;
                admitted.map_err(|error| storing_failed(&error))
            })
            .await?;
            storing.write(part).await?;
            // What the client has sent already is taken from the connection when there is room for it.
            storing.make_room(READ).await?;
            unless_closed(client, storing.held.grow(READ, patience)).await?;
            let mut next = pin!(pace.next(&mut body));
            let (frame, waited) = match poll_once(next.as_mut()).await {
                Some(frame) => (frame?, false),
                // A client that sends slowly takes little room meanwhile.
                None => {
                    storing.give_back(0);
                    let mut frame = pin!(unless_closed(client, next));
                    let early = {
                        let mut settled = pin!(storing.settle());
                        // What is sent must have settled before it can be deleted.
                        tokio::select! {
                            settled = settled.as_mut() => {
                                settled?;
                                None
                            }
                            frame = frame.as_mut() => {
                                settled.await?;
                                Some(frame?)
                            }
                        }
                    };
                    let frame = match early {
                        Some(frame) => frame,
                        None => match timeout(storing.admission.left(waited), frame.as_mut()).await {
                            Ok(frame) => frame?,
                            Err(_) => {
                                storing.admission.lapse(length as u64);
                                frame.await?
                            }
                        },
                    };
                    (frame, true)
                }
            };
            match frame.map(http_body::Frame::into_data) {
                None => break,
                Some(Ok(data)) => {
                    if waited {
                        storing.make_room(data.len()).await?;
                        unless_closed(client, storing.held.grow(data.len().min(READ), patience)).await?;
                    }
                    length += data.len();
                    part = data;
                }
                Some(Err(frame)) => {
                    trailers = frame.into_trailers().ok();
                    break;
                }
            }
        }
        let object = storing.upload.finish(Bytes::new()).await.map_err(|error| storing_failed(&error))?;
        Ok((object, trailers))
    }
}

impl Storing {
    /// Writes bytes that `held` counts, and gives back what is not in memory any more.
    async fn write(&mut self, mut data: Bytes) -> Result<(), Failure> {
        while !data.is_empty() {
            let part = data.split_to(PART.min(data.len()));
            self.upload.write(part).await.map_err(|error| storing_failed(&error))?;
            self.give_back(data.len());
        }
        Ok(())
    }

    /// Stores what is in memory if the budget does not have so many bytes, so that others can go on: chunks get shorter then.
    async fn make_room(&mut self, bytes: usize) -> Result<(), Failure> {
        if self.upload.held() > 0 && !self.held.has(bytes) {
            self.upload.flush().await.map_err(|error| storing_failed(&error))?;
            self.give_back(0);
        }
        Ok(())
    }

    /// Waits until what was sent is stored. If the budget is short, it stores the rest as well.
    async fn settle(&mut self) -> Result<(), Failure> {
        let settled =
            if self.held.is_short() { self.upload.flush().await } else { self.upload.confirm().await };
        settled.map_err(|error| storing_failed(&error))?;
        self.give_back(0);
        Ok(())
    }

    /// Gives back what the body does not take in memory any more, besides so many bytes to be written, and in the bucket what
    /// has become part of that.
    fn give_back(&mut self, unwritten: usize) {
        self.held.shrink_to(self.upload.held() + unwritten);
        self.admission.stored(self.upload.stored());
    }

    /// Deletes what has been stored. The memory is counted until nothing is on its way any more.
    async fn discard(mut self) {
        self.upload.settle().await;
        drop(self.held);
        self.upload.discard().await;
    }
}

/// Polls a future once. Returns `None` if it is pending.
pub(super) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Waits for the result, or for the client to leave.
async fn unless_closed<C, T, E: Into<Failure>>(
    client: &mut oneshot::Sender<C>,
    result: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = client.closed() => Err(FailureKind::BadRequest.into()),
        result = result => result.map_err(Into::into),
    }
}
