//! What a handler's outcome becomes on the wire.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use narun_core::fields::Edit;
use narun_core::frame::ResponseHead;
use narun_core::{Failure, FailureContext, FailureKind};
use narun_nats::body::{BodyPart, Fitted, fit};

use crate::consumer::Consumer;
use crate::handler::{Answered, HandlerError};
use crate::metrics::{HandlerFailure, Metrics};

/// What a `Content-Length` takes in a frame, at most.
const LENGTH: usize = 40;

/// A handler's outcome as it is told.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Or what to say where there can be no response.
    pub(crate) response: Result<Encoded, String>,
}

/// A response on its way.
pub(crate) struct Encoded {
    /// The RESPONSE.
    pub(crate) frame: Bytes,
    /// None if that was all.
    pub(crate) rest: Option<Rest>,
}

/// What is there already of a body that goes on.
pub(crate) struct Rest {
    /// How many bytes went with the head.
    pub(crate) inline: u64,
    /// What follows them: first what did not fit.
    pub(crate) cut: Bytes,
    pub(crate) part: BodyPart,
}

impl Answer {
    pub(crate) fn new(
        outcome: Result<Answered, HandlerError>,
        context: &FailureContext,
        consumer: &Consumer,
    ) -> Self {
        let Consumer { metrics, .. } = consumer;
        let room = consumer.endpoint.max_frame();
        let failure = match outcome {
            Ok(mut answered) => match begin(&mut answered, consumer, room) {
                Ok(response) => return Self { status: answered.parts.status, response: Ok(response) },
                Err(problem) => return Self::unsendable(problem, metrics),
            },
            Err(HandlerError::TooLarge) => return Self::unsendable(too_large(room), metrics),
            Err(error) => error,
        };
        report(&failure, metrics);
        let response = Failure::new(FailureKind::HandlerFailed).to_response(context);
        let status = response.status();
        Self { status, response: begin(&mut Answered::from(response), consumer, room) }
    }

    fn unsendable(problem: String, metrics: &Metrics) -> Self {
        unsendable(&problem, metrics);
        Self { status: StatusCode::BAD_GATEWAY, response: Err(problem) }
    }
}

/// Encodes a response with as much of its body as fits.
fn begin(response: &mut Answered, consumer: &Consumer, room: usize) -> Result<Encoded, String> {
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
    let rest = goes_on.then(|| Rest {
        inline: inline.len() as u64,
        cut: cut.unwrap_or_default(),
        part: std::mem::take(&mut response.rest),
    });
    Ok(Encoded { frame, rest })
}

/// Logs and counts a response that cannot be sent.
pub(crate) fn unsendable(problem: &str, metrics: &Metrics) {
    tracing::error!(problem, "the response cannot be sent");
    metrics.failed(HandlerFailure::TooLarge);
}

/// Logs and counts a handler that gave no response.
pub(crate) fn report(error: &HandlerError, metrics: &Metrics) {
    let failure = match error {
        HandlerError::Panic => {
            tracing::error!("the handler panicked");
            HandlerFailure::Panic
        }
        HandlerError::Service(error) => {
            tracing::error!(%error, "the handler's service failed");
            HandlerFailure::Error
        }
        HandlerError::Body(error) => {
            tracing::error!(%error, "the response's body broke off");
            HandlerFailure::Error
        }
        HandlerError::TooLarge => {
            tracing::error!("the response cannot be sent");
            HandlerFailure::TooLarge
        }
    };
    metrics.failed(failure);
}

/// Encodes a response; the error is what to tell the gateway instead.
pub(crate) fn encode(response: &Answered, consumer: &Consumer, room: usize) -> Result<Bytes, String> {
    let frame = encode_any(response, response.body.clone(), true, consumer)?;
    if frame.len() > room { Err(too_large(room)) } else { Ok(frame) }
}

fn encode_any(response: &Answered, body: Bytes, end: bool, consumer: &Consumer) -> Result<Bytes, String> {
    let Answered { parts, rest, length, .. } = response;
    let endpoint = &consumer.endpoint;
    let length: Option<(HeaderName, HeaderValue)> = length
        .filter(|_| !parts.headers.contains_key(CONTENT_LENGTH))
        .map(|length| (CONTENT_LENGTH, length.into()));
    let edit = Edit { without: &[], with: length.as_slice() };
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

/// A response that narun made itself.
impl From<Response<Bytes>> for Answered {
    fn from(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        Self::whole(parts, body, None, None)
    }
}
