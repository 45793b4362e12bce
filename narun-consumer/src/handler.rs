//! One call of the user's service, from waiting for a slot to the response.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, response};
use narun_core::Body;
use narun_nats::body::{BodyPart, BodyPrefix, Collect, CollectError, Prefix, has_content, remove_length};
use pin_project::pin_project;
use tower_service::Service;

use crate::admission::Slot;
use crate::error::BoxError;

/// A future of the service's response. Afterwards, [`poll_body`](Self::poll_body) returns the rest of the response's body.
#[pin_project]
pub(crate) struct Handler<S: Service<Request<Body>, Response = Response<B>>, B> {
    #[pin]
    stage: Stage<S, S::Future, B>,
    method: Method,
    extent: Extent,
    slot: Option<Slot>,
}

#[pin_project(project = StageProj)]
enum Stage<S, F, B> {
    /// Waiting for a slot.
    Queued { slot: BoxFuture<'static, Slot>, call: Option<(S, Request<Body>)> },
    /// Waiting for the service to be ready.
    Starting { service: S, request: Option<Request<Body>> },
    /// The service is handling the request.
    Running(#[pin] F),
    /// The response's body is read, part by part.
    Responding {
        parts: Option<response::Parts>,
        length: Option<u64>,
        #[pin]
        body: Prefix<B>,
    },
    /// The response's body is being collected.
    Collecting {
        parts: Option<response::Parts>,
        #[pin]
        body: Collect<B>,
    },
    /// Finished.
    Done,
}

/// How much of the response's body must be read before the future completes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// All of it, up to this many bytes.
    Whole(usize),
    /// As much as is ready, up to this many bytes.
    Prefix(usize),
}

/// A response with the start of its body.
#[derive(Debug)]
pub(crate) struct HandlerResponse {
    pub(crate) parts: response::Parts,
    /// The start of the body.
    pub(crate) body: Bytes,
    /// The part that follows, which may be the end.
    pub(crate) rest: BodyPart,
    /// The length of the whole body, if it is known and `body` does not show it.
    pub(crate) length: Option<u64>,
}

/// Why a handler returned no response.
#[derive(Debug)]
pub(crate) enum HandlerError {
    Panic,
    Service(BoxError),
    /// The response's body failed.
    Body(BoxError),
    TooLarge,
}

impl<E: Into<BoxError>> From<CollectError<E>> for HandlerError {
    fn from(error: CollectError<E>) -> Self {
        match error {
            CollectError::TooLarge => Self::TooLarge,
            CollectError::Body(error) => Self::Body(error.into()),
        }
    }
}

impl HandlerResponse {
    /// A response with its whole body.
    pub(crate) const fn whole(
        parts: response::Parts,
        body: Bytes,
        trailers: Option<HeaderMap>,
        length: Option<u64>,
    ) -> Self {
        Self { parts, body, rest: BodyPart { data: Bytes::new(), end: true, trailers }, length }
    }

    /// Whether `body` is the whole body.
    pub(crate) const fn is_whole(&self) -> bool {
        self.rest.end && self.rest.data.is_empty()
    }
}

impl<S, B> Handler<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    /// Makes a call that starts at the first poll if there is a slot, otherwise when the future in `slot` completes.
    pub(crate) fn new(
        service: S,
        request: Request<Body>,
        slot: Result<Slot, BoxFuture<'static, Slot>>,
        extent: Extent,
    ) -> Self {
        let method = request.method().clone();
        let (stage, slot) = match slot {
            Ok(slot) => (Stage::Starting { service, request: Some(request) }, Some(slot)),
            Err(next) => (Stage::Queued { slot: next, call: Some((service, request)) }, None),
        };
        Self { stage, method, extent, slot }
    }

    /// Whether the call has a slot.
    pub(crate) const fn has_started(&self) -> bool {
        self.slot.is_some()
    }

    /// Gives the slot back. To be called after the whole response was returned.
    pub(crate) fn release(self: Pin<&mut Self>) {
        *self.project().slot = None;
    }

    /// Whether the service has received the request.
    pub(crate) const fn was_called(&self) -> bool {
        !matches!(self.stage, Stage::Queued { .. } | Stage::Starting { .. })
    }
}

impl<S, B> Future for Handler<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<HandlerResponse, HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.as_mut().guarded(|handler| {
            let outcome = handler.as_mut().poll_stages(cx);
            let goes_on = matches!(&outcome, Poll::Ready(Ok(response)) if !response.rest.end);
            (goes_on || outcome.is_pending(), outcome)
        })
    }
}

impl<S, B> Handler<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    /// Polls for the next part of the response's body. Pending forever if there is no more.
    pub(crate) fn poll_body(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyPart, HandlerError>> {
        self.as_mut().guarded(|handler| {
            let StageProj::Responding { body, .. } = handler.as_mut().project().stage.project() else {
                return (true, Poll::Pending);
            };
            let part = body.poll_part(cx).map_err(|error| HandlerError::Body(error.into()));
            (matches!(&part, Poll::Pending | Poll::Ready(Ok(BodyPart { end: false, .. }))), part)
        })
    }

    /// Runs a step of the user's code and catches panics. Drops the user's future or body unless the step returns `true`.
    fn guarded<T>(
        mut self: Pin<&mut Self>,
        step: impl FnOnce(&mut Pin<&mut Self>) -> (bool, Poll<Result<T, HandlerError>>),
    ) -> Poll<Result<T, HandlerError>> {
        // After a panic, the stage is never polled again, only dropped.
        let step = AssertUnwindSafe(|| {
            let (goes_on, outcome) = step(&mut self);
            if !goes_on {
                // Dropped inside, as the drop may panic too.
                self.as_mut().project().stage.set(Stage::Done);
            }
            outcome
        });
        catch_unwind(step).unwrap_or(Poll::Ready(Err(HandlerError::Panic)))
    }

    fn poll_stages(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<HandlerResponse, HandlerError>> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageProj::Queued { slot, call } => {
                    let slot = ready!(slot.as_mut().poll(cx));
                    *this.slot = Some(slot);
                    let Some((service, request)) = call.take() else { return Poll::Pending };
                    Stage::Starting { service, request: Some(request) }
                }
                StageProj::Starting { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Err(HandlerError::Service(error.into())));
                    }
                    let Some(request) = request.take() else { return Poll::Pending };
                    Stage::Running(service.call(request))
                }
                StageProj::Running(future) => match ready!(future.poll(cx)) {
                    Err(error) => return Poll::Ready(Err(HandlerError::Service(error.into()))),
                    Ok(response) if !has_content(this.method, response.status()) => {
                        let length = omitted_length(&response);
                        let (mut parts, _) = response.into_parts();
                        remove_length(parts.status, &mut parts.headers);
                        return Poll::Ready(Ok(HandlerResponse::whole(parts, Bytes::new(), None, length)));
                    }
                    Ok(response) => {
                        let (parts, body) = response.into_parts();
                        let (length, parts) = (body.size_hint().exact(), Some(parts));
                        match *this.extent {
                            Extent::Whole(limit) => {
                                Stage::Collecting { parts, body: Collect::new(body, limit) }
                            }
                            Extent::Prefix(limit) => {
                                Stage::Responding { parts, length, body: Prefix::new(body, limit) }
                            }
                        }
                    }
                },
                StageProj::Responding { parts, length, body } => {
                    let prefix =
                        ready!(body.poll_prefix(cx)).map_err(|error| HandlerError::Body(error.into()))?;
                    let Some(parts) = parts.take() else { return Poll::Pending };
                    let BodyPrefix { inline, rest } = prefix;
                    let mut response = HandlerResponse { parts, body: inline, rest, length: *length };
                    if response.is_whole() {
                        // The body itself shows its length.
                        response.length = None;
                    }
                    return Poll::Ready(Ok(response));
                }
                StageProj::Collecting { parts, body } => {
                    let (body, trailers) = ready!(body.poll(cx)).map_err(HandlerError::from)?;
                    let Some(parts) = parts.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(HandlerResponse::whole(parts, body, trailers, None)));
                }
                StageProj::Done => return Poll::Pending,
            };
            this.stage.set(next);
        }
    }
}

/// Returns the `Content-Length` of a response to HEAD: that of the content in a response to GET (RFC 9110 8.6).
///
/// Returns `None` if the body is empty, because the service has most likely dropped the content itself, and for a status
/// that never has content.
fn omitted_length<B: http_body::Body>(response: &Response<B>) -> Option<u64> {
    let with_content = has_content(&Method::GET, response.status());
    response.body().size_hint().exact().filter(|length| *length > 0 && with_content)
}
