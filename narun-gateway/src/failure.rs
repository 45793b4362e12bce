use http::Response;
use narun_core::{Body, Failure, FailureContext};

/// Makes the response to a [`Failure`].
///
/// Closures and functions of the form `Fn(&Failure, &FailureContext) -> Response<Body>` are hooks:
///
/// ```
/// use http::Response;
/// use narun_core::{Body, Failure, FailureContext};
/// use narun_gateway::FailureHook;
///
/// fn plain(failure: &Failure, _context: &FailureContext) -> Response<Body> {
///     let mut response = Response::new(Body::from(failure.to_string()));
///     *response.status_mut() = failure.status();
///     response
/// }
/// fn is_hook(_: impl FailureHook) {}
/// is_hook(plain);
/// ```
pub trait FailureHook: Send + Sync + 'static {
    /// The response to this failure.
    fn respond(&self, failure: &Failure, context: &FailureContext) -> Response<Body>;
}

impl<F> FailureHook for F
where
    F: Fn(&Failure, &FailureContext) -> Response<Body> + Send + Sync + 'static,
{
    fn respond(&self, failure: &Failure, context: &FailureContext) -> Response<Body> {
        self(failure, context)
    }
}

/// The hook that responds as [`Failure::to_response`] does.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultFailureHook;

impl FailureHook for DefaultFailureHook {
    fn respond(&self, failure: &Failure, context: &FailureContext) -> Response<Body> {
        failure.to_response(context).map(Body::from)
    }
}
