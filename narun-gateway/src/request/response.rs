//! The HTTP response of a direct exchange.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::{Frame, SizeHint};
use narun_core::frame::ResponseFrame;
use narun_core::{Body, BodyError, BodyErrorKind, Failure, FailureKind};
use narun_nats::body::{Measured, content_length, has_content, remove_length};
use narun_nats::drive::IncomingResponse;
use tokio::time::Instant;

use super::context::RequestContext;
use crate::grpc;
use crate::route::compiled::CompiledRoute;
use crate::state::GatewayState;

/// The response of an exchange that ended with its RESPONSE frame.
pub(super) fn whole(method: &Method, mut frame: Box<ResponseFrame>) -> Result<Response<Body>, Failure> {
    if !has_content(method, frame.parts.status) {
        remove_length(frame.parts.status, &mut frame.parts.headers);
        return Ok(Response::from_parts(frame.parts, Body::empty()));
    }
    if announced(&frame.parts.headers)?.is_some_and(|length| length != frame.body.len() as u64) {
        return Err(Failure::new(FailureKind::BadResponse).with_detail("not as long as its content-length"));
    }
    let body = Body::from(frame.body).with_trailers(frame.trailers);
    Ok(Response::from_parts(frame.parts, body))
}

/// The response of an exchange that goes on after its RESPONSE frame.
pub(super) fn streamed(
    state: &Arc<GatewayState>,
    route: &Arc<CompiledRoute>,
    context: &RequestContext,
    mut frame: Box<ResponseFrame>,
    incoming: IncomingResponse,
) -> Result<Response<Body>, Failure> {
    // Dropping the reader cancels the exchange.
    if !has_content(&context.method, frame.parts.status) {
        remove_length(frame.parts.status, &mut frame.parts.headers);
        return Ok(Response::from_parts(frame.parts, Body::empty()));
    }
    let length = announced(&frame.parts.headers)?;
    let content = StreamedContent {
        incoming: Some(Measured::new(incoming, length, BodyErrorKind::Length)),
        deadline: context.deadline,
        request_id: context.request_id.clone(),
        route: route.clone(),
        state: state.clone(),
    };
    Ok(Response::from_parts(frame.parts, Body::streaming(content)))
}

fn announced(fields: &HeaderMap) -> Result<Option<u64>, Failure> {
    content_length(fields)
        .map_err(|error| Failure::new(FailureKind::BadResponse).with_detail(error.to_string()))
}

/// The content of a streamed response. A gRPC call that reaches its deadline ends with a status. Dropped before its end, it
/// cancels the exchange.
#[derive(Debug)]
struct StreamedContent {
    /// `None` after the end and after an error.
    incoming: Option<Measured<IncomingResponse>>,
    deadline: Option<Instant>,
    request_id: HeaderValue,
    route: Arc<CompiledRoute>,
    /// Also keeps the tasks of exchanges alive.
    state: Arc<GatewayState>,
}

impl StreamedContent {
    /// Whether a gRPC client can receive a status at its deadline: it does not take a part of the content for all of it then.
    fn is_late(&self, kind: BodyErrorKind) -> bool {
        kind == BodyErrorKind::TimedOut
            && self.incoming.as_ref().is_some_and(|incoming| incoming.left().is_none())
            && self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Logs and counts an error, and cancels the exchange.
    fn fail(&mut self, kind: BodyErrorKind) {
        self.incoming = None;
        self.state.failures().aborted(kind, &self.route, &self.request_id);
        self.route.metrics().reset(match kind {
            BodyErrorKind::Gap => "gap",
            BodyErrorKind::TimedOut => "timeout",
            BodyErrorKind::TooLarge => "too_large",
            BodyErrorKind::Length => "length",
            _ => "reset",
        });
    }
}

impl http_body::Body for StreamedContent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.route.metrics().received(data.len());
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let is_late = self.is_late(error.kind());
                self.fail(error.kind());
                Some(if is_late { Ok(Frame::trailers(grpc::deadline_exceeded())) } else { Err(error) })
            }
            None => {
                self.incoming = None;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(|incoming| incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), |incoming| incoming.size_hint())
    }
}

impl Drop for StreamedContent {
    fn drop(&mut self) {
        // A server that has written all of an announced length does not poll for the end.
        if self.incoming.as_ref().is_some_and(|incoming| incoming.left() != Some(0)) {
            self.route.metrics().reset("cancelled");
        }
    }
}
