//! Failures that both ways of a request have.

use narun_core::frame::EncodeError;
use narun_core::{Failure, FailureKind};

use crate::body::BoxError;

/// The request's body is over the route's limit.
pub(super) fn too_large(limit: usize) -> Failure {
    Failure::new(FailureKind::ContentTooLarge).with_detail(format!("the limit is {limit} bytes"))
}

/// The HTTP client aborted the request's body.
pub(super) fn body_failed(error: impl Into<BoxError>) -> Failure {
    let error: BoxError = error.into();
    tracing::debug!(%error, "the request body failed");
    FailureKind::BadRequest.into()
}

/// The request's head cannot be encoded.
pub(super) fn unsendable(error: &EncodeError) -> Failure {
    let kind = match error {
        EncodeError::TargetTooLong { .. } => FailureKind::UriTooLong,
        _ => FailureKind::FieldsTooLarge,
    };
    Failure::new(kind).with_detail(error.to_string())
}
