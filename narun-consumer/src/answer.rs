//! What a handler's outcome becomes on the wire.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use narun_core::fields::Edit;
use narun_core::frame::ResponseHead;
use narun_core::{Failure, FailureContext, FailureKind};

use crate::dispatch::Consumer;
use crate::handler::{Collected, HandlerError};
use crate::metrics::{HandlerFailure, Metrics};

/// An encoded RESPONSE, or what to say where there can be none.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) frame: Result<Bytes, String>,
}

impl Answer {
    pub(crate) fn new(
        outcome: Result<Collected, HandlerError>,
        context: &FailureContext,
        consumer: &Consumer,
    ) -> Self {
        let Consumer { endpoint, metrics, .. } = consumer;
        let room = endpoint.limits().frame.min(endpoint.link().client().max_payload());
        let failure = match outcome {
            Ok(collected) => match encode(&collected, consumer, room) {
                Ok(frame) => return Self { status: collected.parts.status, frame: Ok(frame) },
                Err(problem) => return Self::unsendable(problem, metrics),
            },
            Err(HandlerError::TooLarge) => return Self::unsendable(too_large(room), metrics),
            Err(error) => error,
        };
        report(&failure, metrics);
        let response = Failure::new(FailureKind::HandlerFailed).to_response(context);
        Self { status: response.status(), frame: encode(&Collected::from_whole(response), consumer, room) }
    }

    fn unsendable(problem: String, metrics: &Metrics) -> Self {
        unsendable(&problem, metrics);
        Self { status: StatusCode::BAD_GATEWAY, frame: Err(problem) }
    }
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
pub(crate) fn encode(response: &Collected, consumer: &Consumer, room: usize) -> Result<Bytes, String> {
    let endpoint = &consumer.endpoint;
    let length: Option<(HeaderName, HeaderValue)> = response
        .omitted
        .filter(|_| !response.parts.headers.contains_key(CONTENT_LENGTH))
        .map(|length| (CONTENT_LENGTH, length.into()));
    let edit = Edit { without: &[], with: length.as_slice() };
    let mut head = ResponseHead::new();
    head.instance.clone_from(&consumer.exchange.instance);
    head.max_payload = endpoint.link().client().max_payload() as u64;
    let frame = head
        .encode(&response.parts, edit, response.body.clone(), response.trailers.as_ref(), endpoint.limits())
        .map_err(|error| format!("the response's head cannot be sent: {error}"))?;
    if frame.len() > room { Err(too_large(room)) } else { Ok(frame) }
}

pub(crate) fn too_large(limit: usize) -> String {
    format!("the response does not fit the limit of {limit} bytes")
}

impl Collected {
    /// A response that narun made itself.
    pub(crate) fn from_whole(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        Self { parts, body, trailers: None, omitted: None }
    }
}
