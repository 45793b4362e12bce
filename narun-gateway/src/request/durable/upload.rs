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
    /// The most bytes of the body.
    pub(super) limit: usize,
    /// How long to wait for room in memory.
    pub(super) patience: Duration,
}

/// A body that was received and stored, with its trailers.
type Received<T> = Result<(T, Option<HeaderMap>), Failure>;

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
            let mut upload = bodies.upload(self.id);
            match self.receive(&mut upload, &mut client).await {
                Ok((object, trailers)) => {
                    // If the client is gone, this drops the body, which deletes the object.
                    let _ = client.send(Ok((StoredBody::new(owner, bodies, object), trailers)));
                }
                Err(failure) => {
                    let _ = client.send(Err(failure));
                    upload.discard().await;
                }
            }
        });
        response.await.unwrap_or_else(|_| Err(FailureKind::JetStreamUnavailable.into()))
    }

    async fn receive<T>(
        self,
        upload: &mut BodyUpload,
        client: &mut oneshot::Sender<T>,
    ) -> Received<ObjectRef> {
        let Self { first, next, mut body, mut pace, mut held, limit, patience, .. } = self;
        let mut length = first.len() + next.len();
        write(upload, first, &mut held).await?;
        make_room(upload, &mut held, next.len()).await?;
        unless_closed(client, held.grow(next.len().min(READ), patience)).await?;
        let (mut trailers, mut part) = (None, next);
        loop {
            if length > limit {
                return Err(too_large(limit));
            }
            write(upload, part, &mut held).await?;
            // What the client has sent already is taken from the connection when there is room for it.
            make_room(upload, &mut held, READ).await?;
            unless_closed(client, held.grow(READ, patience)).await?;
            let mut next = pin!(pace.next(&mut body));
            let (frame, waited) = match poll_once(next.as_mut()).await {
                Some(frame) => (frame?, false),
                // A client that sends slowly takes no room meanwhile.
                None => {
                    held.shrink_to(upload.held());
                    (unless_closed(client, next).await?, true)
                }
            };
            match frame.map(http_body::Frame::into_data) {
                None => break,
                Some(Ok(data)) => {
                    if waited {
                        make_room(upload, &mut held, data.len()).await?;
                        unless_closed(client, held.grow(data.len().min(READ), patience)).await?;
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
        let object = upload.finish(Bytes::new()).await.map_err(|error| storing_failed(&error))?;
        Ok((object, trailers))
    }
}

/// Writes bytes that `held` counts, and gives back what is not in memory any more.
async fn write(upload: &mut BodyUpload, mut data: Bytes, held: &mut HeldBytes) -> Result<(), Failure> {
    while !data.is_empty() {
        let part = data.split_to(PART.min(data.len()));
        upload.write(part).await.map_err(|error| storing_failed(&error))?;
        held.shrink_to(upload.held() + data.len());
    }
    Ok(())
}

/// Stores what is in memory if the budget does not have so many bytes, so that others can go on: chunks get shorter then.
async fn make_room(upload: &mut BodyUpload, held: &mut HeldBytes, bytes: usize) -> Result<(), Failure> {
    if upload.held() > 0 && !held.has(bytes) {
        upload.flush().await.map_err(|error| storing_failed(&error))?;
        held.shrink_to(upload.held());
    }
    Ok(())
}

/// Polls a future once. Returns `None` if it is pending.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
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
