//! Bodies that are stored as objects: read while their handlers read them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use narun_core::frame::ObjectRef;
use narun_core::{Body, BodyError, BodyErrorKind};
use narun_nats::jetstream::{BodyReader, BodyStore};

use super::dead_letter::DeadLetterReason;
use super::request::{DeliveredRequest, RequestContext, Verdict};
use super::state::WorkerState;
use super::store::{StoreError, retry};
use crate::log::FailureLog;

/// Why a body broke off while its handler read it. Empty while it has not.
#[derive(Clone, Debug, Default)]
pub(super) struct BodyFault(Arc<OnceLock<StoreError>>);

/// A body that is read chunk by chunk.
struct StoredContent {
    log: Arc<FailureLog>,
    /// The first chunk, which was read before the handler was called.
    first: Bytes,
    /// `None` after the end and after an error.
    reader: Option<BodyReader>,
    /// The mutex is never locked: it makes the body `Sync`.
    reading: Option<Mutex<Reading>>,
    left: u64,
    trailers: Option<HeaderMap>,
    fault: BodyFault,
}

/// Reads the next chunk.
type Reading = Pin<Box<dyn Future<Output = (BodyReader, Result<Bytes, StoreError>)> + Send>>;

impl DeliveredRequest {
    /// Begins to read the body that a request refers to. Returns the verdict if the request cannot be handled.
    pub(super) async fn open_body(
        &self,
        context: &RequestContext,
        object: &ObjectRef,
        trailers: Option<HeaderMap>,
    ) -> Result<(Body, BodyFault), Verdict> {
        let limit = self.state.settings.max_body;
        if object.size > limit {
            let reason = DeadLetterReason::TooLarge { size: object.size, limit };
            return Err(self.give_up(Some(context), reason).await);
        }
        let opened = async {
            let mut reader = self.state.bodies().await?.read(object)?;
            let first = match reader.left() {
                0 => Bytes::new(),
                _ => read(&self.state.consumer.failures, &mut reader).await?,
            };
            Ok((reader, first))
        };
        match opened.await {
            Ok((reader, first)) => {
                let fault = BodyFault::default();
                let content = StoredContent {
                    log: self.state.consumer.failures.clone(),
                    first,
                    reader: Some(reader),
                    reading: None,
                    left: object.size,
                    trailers: trailers.filter(|trailers| !trailers.is_empty()),
                    fault: fault.clone(),
                };
                Ok((Body::streaming(content), fault))
            }
            Err(error) => Err(self.without_body(context, &error).await),
        }
    }

    /// The verdict on a request whose body broke off while its handler read it, whatever the handler made of that. Returns
    /// `None` if it has not.
    pub(super) async fn verdict_on_body(
        &self,
        context: &RequestContext,
        fault: &BodyFault,
    ) -> Option<Verdict> {
        let error = fault.0.get()?;
        Some(self.without_body(context, error).await)
    }

    async fn without_body(&self, context: &RequestContext, error: &StoreError) -> Verdict {
        match error {
            StoreError::Permanent(why) if self.is_last() => {
                self.give_up(Some(context), DeadLetterReason::NoBody(why.clone())).await
            }
            StoreError::Temporary(_) | StoreError::Full(_) => {
                tracing::debug!(delivery = self.delivered.count, %error, "the body of the request cannot be reached");
                Verdict::Postponed
            }
            // Another delivery may have done the request and deleted its body; then there is no next one.
            StoreError::Permanent(_) => {
                tracing::debug!(delivery = self.delivered.count, %error, "the body of the request cannot be read");
                self.retry()
            }
        }
    }
}

/// Reads the next chunk. Retries temporary errors for a while.
async fn read(log: &FailureLog, reader: &mut BodyReader) -> Result<Bytes, StoreError> {
    let fetched = retry(log, "reading a body failed", || async { Ok(reader.fetch().await?) }).await?;
    Ok(reader.accept(fetched)?)
}

impl StoredContent {
    /// Ready with the next chunk, or `None` at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StoreError>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        if self.reading.is_none() {
            let Some(mut reader) = self.reader.take_if(|reader| reader.left() > 0) else {
                return Poll::Ready(None);
            };
            let log = self.log.clone();
            self.reading = Some(Mutex::new(Box::pin(async move {
                let chunk = read(&log, &mut reader).await;
                (reader, chunk)
            })));
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let reading = reading.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (reader, chunk) = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        self.reader = Some(reader).filter(|_| chunk.is_ok());
        Poll::Ready(Some(chunk))
    }
}

impl http_body::Body for StoredContent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(match ready!(self.poll_chunk(cx)) {
            Some(Ok(chunk)) => {
                self.left = self.left.saturating_sub(chunk.len() as u64);
                Some(Ok(Frame::data(chunk)))
            }
            Some(Err(error)) => {
                let kind = match error {
                    StoreError::Permanent(_) => BodyErrorKind::Gap,
                    _ => BodyErrorKind::TimedOut,
                };
                self.trailers = None;
                let _ = self.fault.0.set(error);
                Some(Err(kind.into()))
            }
            None => self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.trailers {
            None => SizeHint::with_exact(self.left),
            Some(_) => {
                // With an exact length, HTTP/1.1 would announce it and drop the trailers.
                let mut hint = SizeHint::new();
                hint.set_lower(self.left);
                hint
            }
        }
    }
}

impl WorkerState {
    /// Returns the bucket of bodies.
    pub(super) async fn bodies(&self) -> Result<&BodyStore, StoreError> {
        match self.bodies.get() {
            Some(bodies) => Ok(bodies),
            None => {
                let open = || async { Ok(self.bodies.get_or_try_init(|| self.tasks.bodies()).await?) };
                retry(&self.consumer.failures, "opening the bucket of bodies failed", open).await
            }
        }
    }

    /// Deletes the body of a request that is done.
    pub(super) async fn delete_body(&self, object: &ObjectRef) {
        if let Ok(bodies) = self.bodies().await
            && let Err(error) = bodies.delete(object).await
        {
            bodies.undeleted().log(object, &error);
        }
    }
}
