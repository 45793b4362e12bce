//! Stores the body of a durable request as an object while it is received.

use std::sync::Arc;
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
        let Self { mut first, next, mut body, mut pace, mut held, limit, patience, .. } = self;
        let mut length = first.len() + next.len();
        while !first.is_empty() {
            let part = first.split_to(PART.min(first.len()));
            upload.write(part).await.map_err(|error| storing_failed(&error))?;
            held.shrink_to(upload.held() + first.len());
        }
        let mut trailers = None;
        let mut part = next;
        loop {
            if length > limit {
                return Err(too_large(limit));
            }
            while !part.is_empty() {
                let part = part.split_to(PART.min(part.len()));
                make_room(upload, &mut held, part.len()).await?;
                unless_closed(client, held.grow(part.len(), patience)).await?;
                upload.write(part).await.map_err(|error| storing_failed(&error))?;
                held.shrink_to(upload.held());
            }
            let frame = unless_closed(client, pace.next(&mut body)).await?;
            match frame.map(http_body::Frame::into_data) {
                None => break,
                Some(Ok(data)) => {
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

/// Stores what is in memory if the budget does not have so many bytes, so that others can go on: chunks get shorter then.
async fn make_room(upload: &mut BodyUpload, held: &mut HeldBytes, bytes: usize) -> Result<(), Failure> {
    if upload.held() > 0 && !held.has(bytes) {
        upload.flush().await.map_err(|error| storing_failed(&error))?;
        held.shrink_to(upload.held());
    }
    Ok(())
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
