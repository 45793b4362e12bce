//! Encoding a handler's outcome as a RESPONSE.

use std::fmt::Display;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use narun_core::fields::Edit;
use narun_core::frame::ResponseHead;
use narun_core::{Failure, FailureContext, FailureKind};
use narun_nats::body::{BodyPart, Fitted, fit};

use crate::consumer::Consumer;
use crate::handler::{HandlerError, HandlerResponse};
use crate::metrics::HandlerFailure;

/// The largest size of a `Content-Length` field in a frame.
const LENGTH: usize = 40;

/// A handler's outcome, ready to be sent.
pub(crate) struct EncodedOutcome {
    pub(crate) status: StatusCode,
    /// The response, or the reason why it cannot be sent.
    pub(crate) response: Result<EncodedResponse, String>,
}

/// An encoded response.
pub(crate) struct EncodedResponse {
    /// The RESPONSE.
    pub(crate) frame: Bytes,
    /// `None` if the body is complete.
    pub(crate) rest: Option<FollowingBody>,
}

/// The part of a body that has been read and follows the head.
pub(crate) struct FollowingBody {
    /// The number of body bytes in the RESPONSE.
    pub(crate) inline: u64,
    /// The next bytes, which did not fit the RESPONSE.
    pub(crate) cut: Bytes,
    /// The part after them.
    pub(crate) part: BodyPart,
}

impl EncodedOutcome {
    pub(crate) fn new(
        outcome: Result<HandlerResponse, HandlerError>,
        context: &FailureContext,
        consumer: &Consumer,
    ) -> Self {
        let room = consumer.endpoint.max_frame();
        let failure = match outcome {
            Ok(mut response) => match begin(&mut response, consumer, room) {
                Ok(encoded) => return Self { status: response.parts.status, response: Ok(encoded) },
                Err(problem) => return Self::unsendable(problem, consumer, context),
            },
            Err(HandlerError::TooLarge) => return Self::unsendable(too_large(room), consumer, context),
            Err(error) => error,
        };
        report(&failure, consumer, context);
        let response = Failure::new(FailureKind::HandlerFailed).to_response(context);
        let status = response.status();
        Self { status, response: begin(&mut HandlerResponse::from(response), consumer, room) }
    }

    fn unsendable(problem: String, consumer: &Consumer, context: &FailureContext) -> Self {
        unsendable(&problem, consumer, context);
        Self { status: StatusCode::BAD_GATEWAY, response: Err(problem) }
    }
}

/// Encodes a response with as much of its body as fits.
fn begin(
    response: &mut HandlerResponse,
    consumer: &Consumer,
    room: usize,
) -> Result<EncodedResponse, String> {
    let is_whole = response.is_whole();
    let mut inline = std::mem::take(&mut response.body);
    let total = inline.len() as u64;
    let fitted = fit(&mut inline, room, LENGTH, |inline, cut| {
        if cut && is_whole && response.rest.trailers.is_none() {
            response.length = Some(total);
        }
        encode_any(response, inline.clone(), is_whole && !cut, consumer)
    })?;
    let Fitted { frame, cut } = fitted.ok_or_else(|| too_large(room))?;
    let goes_on = cut.is_some() || !is_whole;
    let rest = goes_on.then(|| FollowingBody {
        inline: inline.len() as u64,
        cut: cut.unwrap_or_default(),
        part: std::mem::take(&mut response.rest),
    });
    Ok(EncodedResponse { frame, rest })
}

/// Logs and counts a response that cannot be sent.
pub(crate) fn unsendable(problem: &str, consumer: &Consumer, context: &FailureContext) {
    let request_id = context.request_id.as_ref();
    consumer.failures.failed("the response cannot be sent", Some(&problem), request_id);
    consumer.metrics.failed(HandlerFailure::TooLarge);
}

/// Logs and counts a handler that returned no response.
pub(crate) fn report(error: &HandlerError, consumer: &Consumer, context: &FailureContext) {
    let (failure, what, cause): (_, _, Option<&dyn Display>) = match error {
        HandlerError::Panic => (HandlerFailure::Panic, "the handler panicked", None),
        HandlerError::Service(error) => (HandlerFailure::Error, "the handler's service failed", Some(error)),
        HandlerError::Body(error) => (HandlerFailure::Error, "the response's body failed", Some(error)),
        HandlerError::TooLarge => (HandlerFailure::TooLarge, "the response cannot be sent", None),
    };
    consumer.failures.failed(what, cause, context.request_id.as_ref());
    consumer.metrics.failed(failure);
}

/// Encodes a response. The error is the reason why it cannot be sent, for the gateway.
pub(crate) fn encode(response: &HandlerResponse, consumer: &Consumer, room: usize) -> Result<Bytes, String> {
    let frame = encode_any(response, response.body.clone(), true, consumer)?;
    if frame.len() > room { Err(too_large(room)) } else { Ok(frame) }
}

fn encode_any(
    response: &HandlerResponse,
    body: Bytes,
    end: bool,
    consumer: &Consumer,
) -> Result<Bytes, String> {
    let HandlerResponse { parts, rest, length, .. } = response;
    let endpoint = &consumer.endpoint;
    let length: Option<(HeaderName, HeaderValue)> = length
        .filter(|_| !parts.headers.contains_key(CONTENT_LENGTH))
        .map(|length| (CONTENT_LENGTH, length.into()));
    let edit = Edit { with: length.as_slice(), ..Edit::default() };
    let mut head = ResponseHead::new();
    head.instance.clone_from(&consumer.exchange.instance);
    head.max_payload = endpoint.max_payload() as u64;
    head.end = end;
    head.encode(parts, edit, body, rest.trailers.as_ref(), endpoint.limits())
        .map_err(|error| format!("the response's head cannot be sent: {error}"))
}

pub(crate) fn too_large(limit: usize) -> String {
    format!("the response does not fit the limit of {limit} bytes")
}

impl From<Response<Bytes>> for HandlerResponse {
    fn from(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        Self::whole(parts, body, None, None)
    }
}
