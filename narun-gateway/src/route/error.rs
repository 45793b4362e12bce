use narun_core::NameError;

/// A route that cannot be used, found when the table is made. `route` is its methods, host and path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The app's name cannot be part of a subject.
    #[error("route `{route}`: `{app}` cannot be the name of an app")]
    App {
        /// The route.
        route: String,
        /// The name.
        app: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// The path's syntax is wrong, or no request could ever match it.
    #[error("route `{route}`: the path {problem}")]
    Path {
        /// The route.
        route: String,
        /// What is wrong, the sentence after "the path".
        problem: &'static str,
    },
    /// The host is neither a name, nor an address, nor `*.` and a name.
    #[error("route `{route}`: host `{host}` {problem}")]
    Host {
        /// The route.
        route: String,
        /// The host.
        host: String,
        /// What is wrong, the sentence after the host.
        problem: &'static str,
    },
    /// A timeout of zero: every request would fail.
    #[error("route `{route}`: a timeout of zero fails every request")]
    ZeroTimeout {
        /// The route.
        route: String,
    },
    /// An expiry under a millisecond: no request would ever be run.
    #[error("route `{route}`: an expiry under a millisecond drops every request")]
    ZeroExpiry {
        /// The route.
        route: String,
    },
    /// Neither of two routes is more specific: they have the same host, the same path, parameter names aside, and a
    /// method in common.
    #[error("route `{route}` matches the same requests as route `{with}`")]
    Conflict {
        /// The later one of the two.
        route: String,
        /// The earlier one.
        with: String,
    },
}
