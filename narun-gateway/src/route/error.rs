use narun_core::NameError;

/// A route is invalid, or conflicts with another. `route` is its methods, host and path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The app's name is invalid.
    #[error("route `{route}`: `{app}` is not a valid name of an app")]
    App {
        /// The route.
        route: String,
        /// The name.
        app: String,
        /// Why it is invalid.
        source: NameError,
    },
    /// The path is invalid, or no request can match it.
    #[error("route `{route}`: the path {problem}")]
    Path {
        /// The route.
        route: String,
        /// Why it is invalid, as the end of a sentence that starts with "the path".
        problem: &'static str,
    },
    /// The host is not a name, an address, or `*.` and a name.
    #[error("route `{route}`: host `{host}` {problem}")]
    Host {
        /// The route.
        route: String,
        /// The host.
        host: String,
        /// Why it is invalid, as the end of a sentence that starts with the host.
        problem: &'static str,
    },
    /// A timeout is zero: each request would fail.
    #[error("route `{route}`: a timeout is zero, so each request would fail")]
    ZeroTimeout {
        /// The route.
        route: String,
    },
    /// The expiry is under a millisecond: no request would be handled.
    #[error("route `{route}`: the expiry is under a millisecond, so no request would be handled")]
    ZeroExpiry {
        /// The route.
        route: String,
    },
    /// Two routes are equally specific: they have the same host, the same path, parameter names aside, and a common method.
    #[error("route `{route}` matches the same requests as route `{with}`")]
    Conflict {
        /// The later one of the two.
        route: String,
        /// The earlier one.
        with: String,
    },
}
