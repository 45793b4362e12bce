//! The URI that the client sent, where axum has taken the prefix of a nested router off it.

use http::{Request, Uri};

/// The client's URI. Returns `None` if the request still has it, or if it is not known.
///
/// axum stores the URI before it routes a request. A URI whose path is not the end of the stored one was changed by
/// something else, on purpose, and counts as it is.
#[cfg(feature = "axum")]
pub(crate) fn uri<B>(request: &Request<B>) -> Option<&Uri> {
    let axum::extract::OriginalUri(original) = request.extensions().get()?;
    let nested = request.uri().path();
    // What is left of the path of the nested router itself is a slash.
    let is_nested =
        nested.len() < original.path().len() && (nested == "/" || original.path().ends_with(nested));
    is_nested.then_some(original)
}

/// The client's URI, which is not known without axum.
#[cfg(not(feature = "axum"))]
pub(crate) fn uri<B>(_request: &Request<B>) -> Option<&Uri> {
    None
}
