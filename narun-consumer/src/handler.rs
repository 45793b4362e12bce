//! One call of the user's service, from a free slot to a response: collected, or as it begins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, response};
use narun_core::Body;
use narun_nats::body::{BodyPart, BodyPrefix, Collect, CollectError, Prefix, has_content};
use pin_project::pin_project;
use tower_service::Service;

use crate::admission::Slot;
use crate::error::BoxError;

/// A future of the response, or of why there is none; then, perhaps, the rest of the response's body.
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
    /// The service is at work.
    Running(#[pin] F),
    /// Its response's body begins, or goes on.
    Responding {
        parts: Option<response::Parts>,
        length: Option<u64>,
        #[pin]
        body: Prefix<B>,
    },
    /// Its response's body is being collected.
    Collecting {
        parts: Option<response::Parts>,
        #[pin]
        body: Collect<B>,
    },
    /// The outcome was given.
    Over,
}

/// How much of a response's body there has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// All of it, but no more bytes than these.
    Whole(usize),
    /// What there is, up to so many bytes.
    Beginning(usize),
}

/// A response as far as it is there.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) parts: response::Parts,
    /// Up to the limit.
    pub(crate) body: Bytes,
    /// What follows it, perhaps its end.
    pub(crate) rest: BodyPart,
    /// The body's length, if it is known and what is here does not tell it.
    pub(crate) length: Option<u64>,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum HandlerError {
    Panic,
    Service(BoxError),
    /// The response's body broke off.
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

impl Answered {
    /// A response of which all is there.
    pub(crate) const fn whole(
        parts: response::Parts,
        body: Bytes,
        trailers: Option<HeaderMap>,
        length: Option<u64>,
    ) -> Self {
        Self { parts, body, rest: BodyPart { data: Bytes::new(), end: true, trailers }, length }
    }

    /// Whether nothing follows what goes with the head.
    pub(crate) const fn is_whole(&self) -> bool {
        self.rest.end && self.rest.data.is_empty()
    }
}

impl<S, B> Handler<S, B>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    /// A call that starts when polled, if there is a slot already, or else when `next` gives one.
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

    /// Whether it has a slot.
    pub(crate) const fn has_started(&self) -> bool {
        self.slot.is_some()
    }

    /// Whether the service has seen the request.
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
    type Output = Result<Answered, HandlerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.as_mut().guarded(|handler| {
            let outcome = handler.as_mut().poll_stages(cx);
            let goes_on = matches!(&outcome, Poll::Ready(Ok(answered)) if !answered.rest.end);
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
    /// The next part of a response's body that has begun; pending for ever if there is none.
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

    /// Runs a step of the user's code, which may panic, and drops what is left of it unless there is more to do.
    fn guarded<T>(
        mut self: Pin<&mut Self>,
        step: impl FnOnce(&mut Pin<&mut Self>) -> (bool, Poll<Result<T, HandlerError>>),
    ) -> Poll<Result<T, HandlerError>> {
        // What a panic leaves behind is dropped with this future, and never looked at.
        let step = AssertUnwindSafe(|| {
            let (goes_on, outcome) = step(&mut self);
            if !goes_on {
                // Dropped here, so that it may panic even then.
                self.as_mut().project().stage.set(Stage::Over);
            }
            outcome
        });
        catch_unwind(step).unwrap_or(Poll::Ready(Err(HandlerError::Panic)))
    }

    fn poll_stages(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Answered, HandlerError>> {
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
                        let (parts, _) = response.into_parts();
                        return Poll::Ready(Ok(Answered::whole(parts, Bytes::new(), None, length)));
                    }
                    Ok(response) => {
                        let (parts, body) = response.into_parts();
                        let (length, parts) = (body.size_hint().exact(), Some(parts));
                        match *this.extent {
                            Extent::Whole(limit) => {
                                Stage::Collecting { parts, body: Collect::new(body, limit) }
                            }
                            Extent::Beginning(limit) => {
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
                    let mut answered = Answered { parts, body: inline, rest, length: *length };
                    if answered.is_whole() {
                        // Everybody sees it.
                        answered.length = None;
                    }
                    return Poll::Ready(Ok(answered));
                }
                StageProj::Collecting { parts, body } => {
                    let (body, trailers) = ready!(body.poll(cx)).map_err(HandlerError::from)?;
                    let Some(parts) = parts.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(Answered::whole(parts, body, trailers, None)));
                }
                StageProj::Over => return Poll::Pending,
            };
            this.stage.set(next);
        }
    }
}

/// The length to tell of a response to HEAD: that of the content that GET would have got (RFC 9110 8.6).
///
/// An empty body is most likely one whose content the service has dropped itself. Responses that have no content
/// whatever the method tell no length, or that of another response, which only the service knows.
fn omitted_length<B: http_body::Body>(response: &Response<B>) -> Option<u64> {
    let with_content = has_content(&Method::GET, response.status());
    response.body().size_hint().exact().filter(|length| *length > 0 && with_content)
}
