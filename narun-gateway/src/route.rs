//! Routes: which requests go to which app.

pub(crate) mod compiled;
pub(crate) mod host;
pub(crate) mod pattern;
pub(crate) mod table;

mod allowed;
mod error;
mod hash;
mod tree;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use http::Method;
use narun_core::App;

pub use self::error::RouteError;

use self::host::HostPattern;
use self::pattern::Pattern;

/// Sends the requests for a host, path and methods to an app.
///
/// Nothing is checked until the route is given to a gateway, which returns [`RouteError`] for the first invalid one.
///
/// ```
/// use std::time::Duration;
///
/// use narun_gateway::Route;
///
/// let routes = [
///     Route::post("/hello/{*rest}", "hello").timeout(Duration::from_secs(5)),
///     Route::any("/jobs/", "jobs").prefix().host("*.example.com"),
/// ];
/// assert_eq!(routes[1].to_string(), "any method *.example.com/jobs/ and below");
/// ```
///
/// # Paths
///
/// A path starts with `/` and consists of segments between slashes, in the syntax of `matchit` 0.9, which axum uses too:
///
/// | segment | matches |
/// |---|---|
/// | `users` | itself, byte by byte |
/// | `{id}` | one segment that is not empty |
/// | `img-{id}.png` | the same between two texts; one parameter per segment |
/// | `{*rest}` | the rest of the path if it is not empty, slashes included; only at the end |
/// | `{{`, `}}` | a brace |
///
/// A path that no client sends is an error: one with a segment `.` or `..`, or that is not ASCII or not percent-encoded
/// (RFC 3986). So is a segment that starts with `:` or `*`, as other routers write parameters.
///
/// Request paths are matched without decoding: `/a%2Fb` is one segment, `/%61` is not `/a`, and dot segments and double
/// slashes are not resolved. The app gets the same path. A trailing slash is part of the path: `/hello/` matches only itself,
/// and with [`prefix`](Self::prefix) also what is below it. (A configuration file has no such call, so there a path that ends
/// in `/` is a prefix.)
///
/// # Which route wins
///
/// Of all routes that match host, path and method, the most specific one. Compared are, in this order:
///
/// 1. the host: a name wins over `*.example.com`, a longer one of these over a shorter one, and both over no host;
/// 2. the path, segment by segment from the left: plain text, then the longest text before a parameter, then a
///    parameter before `{*rest}`, then the longest text after it;
/// 3. the method: a named one wins over a route for any method.
///
/// A route that does not take the request's method never hides one that does. `GET` takes `HEAD` as well, unless a route with
/// the same host and path names `HEAD`. Two routes with the same host and the same path, parameter names aside, must not
/// name the same method, nor both take any method: that is [`RouteError::Conflict`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a route does nothing until it is given to a gateway"]
pub struct Route {
    pub(crate) path: String,
    pub(crate) app: String,
    pub(crate) methods: Vec<Method>,
    pub(crate) host: Option<String>,
    pub(crate) prefix: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) total_timeout: Option<Duration>,
    pub(crate) max_body: Option<u64>,
    pub(crate) grpc: bool,
    pub(crate) durable: bool,
    pub(crate) respond_async: bool,
    pub(crate) expiry: Option<Duration>,
}

/// What a valid route matches.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) host: HostPattern,
    pub(crate) patterns: Vec<Pattern>,
}

impl Route {
    /// A route for these methods and this path to this app. An empty list of methods means any method.
    ///
    /// Methods are compared byte by byte (RFC 9110, 9.1), so extension methods such as `PROPFIND` work.
    pub fn new(
        methods: impl IntoIterator<Item = Method>,
        path: impl Into<String>,
        app: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            app: app.into(),
            methods: methods.into_iter().collect(),
            host: None,
            prefix: false,
            timeout: None,
            total_timeout: None,
            max_body: None,
            grpc: false,
            durable: false,
            respond_async: false,
            expiry: None,
        }
    }

    /// A route for any method.
    pub fn any(path: impl Into<String>, app: impl Into<String>) -> Self {
        Self::new([], path, app)
    }

    /// A route for `GET`, and for `HEAD` unless another route with this path names it.
    pub fn get(path: impl Into<String>, app: impl Into<String>) -> Self {
        Self::new([Method::GET], path, app)
    }

    /// A route for `HEAD`.
    pub fn head(path: impl Into<String>, app: impl Into<String>) -> Self {
        Self::new([Method::HEAD], path, app)
    }

    /// A route for `POST`.
    pub fn post(path: impl Into<String>, app: impl Into<String>) -> Self {
        Self::new([Method::POST], path, app)
    }

    /// A route for `PUT`.
    pub fn put(path: impl Into<String>, app: impl Into<String>) -> Self {
        Self::new([Method::PUT], path, app)
    }

    /// A route for `PATCH`.
    pub fn patch(path: impl Into<String>, app: impl Into<String>) -> Self {
        Self::new([Method::PATCH], path, app)
    }

    /// A route for `DELETE`.
    pub fn delete(path: impl Into<String>, app: impl Into<String>) -> Self {
        Self::new([Method::DELETE], path, app)
    }

    /// A route for `OPTIONS`.
    pub fn options(path: impl Into<String>, app: impl Into<String>) -> Self {
        Self::new([Method::OPTIONS], path, app)
    }

    /// A route for `TRACE`.
    pub fn trace(path: impl Into<String>, app: impl Into<String>) -> Self {
        Self::new([Method::TRACE], path, app)
    }

    /// A route for all methods of a gRPC service, `package.Service` with its full name: `POST /package.Service/{method}`.
    /// A server has several services; health and reflection are services like any other.
    ///
    /// It differs from other routes in its time limits. A call with `grpc-timeout` has this limit for everything. A call
    /// without it has no limit while its consumer is there, unless [`timeout`](Self::timeout) is set. See
    /// [gRPC](crate#grpc). A [durable](Self::durable) route has the limits of other durable routes, and is for unary calls.
    ///
    /// ```
    /// # use narun_gateway::Route;
    /// let route = Route::grpc("grpc.health.v1.Health", "greeter");
    /// assert_eq!(route.path(), "/grpc.health.v1.Health/{method}");
    /// ```
    pub fn grpc(service: impl AsRef<str>, app: impl Into<String>) -> Self {
        Self { grpc: true, ..Self::post(format!("/{}{METHOD}", service.as_ref()), app) }
    }

    /// Matches only requests for this host: a name, an address, or `*.example.com` for all names below `example.com` at any
    /// depth, but not `example.com` itself. Default: any host, or none.
    ///
    /// Case, and the port and a trailing dot of the request's host, are ignored. International names must have their ASCII
    /// form (`xn--…`), and IPv6 addresses brackets. IPv6 addresses are compared by value.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Replaces the methods of the route. An empty list means any method.
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// Matches the path and all paths below it. The path must end in `/`, and the path without that slash does not match.
    pub fn prefix(mut self) -> Self {
        self.prefix = true;
        self
    }

    /// How long to wait for the response's head, restarted by progress of the request's body. Default: that of
    /// [`GatewayBuilder::timeout`](crate::GatewayBuilder::timeout). On a direct [gRPC route](Self::grpc), it applies to calls
    /// without `grpc-timeout`, and the default is no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long a request may take until the end of the response's body. Default: no limit. A gRPC client may set a shorter one
    /// with `grpc-timeout`.
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }

    /// The most bytes of a request's body. Default: no limit, or 10 MiB on a [durable](Self::durable) route.
    ///
    /// A longer body gets 413. If the response has begun by then, it is aborted.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = Some(bytes);
        self
    }

    /// Stores requests in a stream until a consumer has handled them, instead of sending them to a running consumer. The
    /// [timeout](Self::timeout) then limits only how long the HTTP client waits. See
    /// [`durable_requests`](crate::durable_requests).
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Responds with 202 when the stream has the request, with the `Location` of its later response. Implies
    /// [`durable`](Self::durable). Without it, clients of a durable route get the same with `Prefer: respond-async` (RFC 7240).
    pub fn respond_async(mut self) -> Self {
        self.respond_async = true;
        self.durable()
    }

    /// How long a durable request may wait in the stream. Consumers skip it afterwards. Default: no limit. Has a resolution of
    /// milliseconds, and no effect on direct routes.
    pub fn expiry(mut self, expiry: Duration) -> Self {
        self.expiry = Some(expiry);
        self
    }

    /// The path as it was given. It is the route's template in logs and metrics.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The app's name as it was given.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// The app's name, if it is valid.
    pub(crate) fn app_name(&self) -> Result<App, RouteError> {
        App::new(self.app.as_str()).map_err(|source| RouteError::App {
            route: self.to_string(),
            app: self.app.clone(),
            source,
        })
    }

    /// Checks the route without regard to others.
    pub(crate) fn check(&self) -> Result<Checked, RouteError> {
        let route = || self.to_string();
        self.app_name()?;
        let patterns = match self.grpc && !is_grpc_path(&self.path) {
            true => Err("is not that of a gRPC service, whose name has letters, digits, `_` and dots"),
            false => Pattern::parse(&self.path, self.prefix),
        };
        let patterns = patterns.map_err(|problem| RouteError::Path { route: route(), problem })?;
        let host = HostPattern::parse(self.host.as_deref()).map_err(|problem| RouteError::Host {
            route: route(),
            host: self.host.clone().unwrap_or_default(),
            problem,
        })?;
        if self.timeout.is_some_and(|timeout| timeout.is_zero())
            || self.total_timeout.is_some_and(|timeout| timeout.is_zero())
        {
            return Err(RouteError::ZeroTimeout { route: route() });
        }
        if self.expiry.is_some_and(|expiry| expiry.as_millis() == 0) {
            return Err(RouteError::ZeroExpiry { route: route() });
        }
        Ok(Checked { host, patterns })
    }
}

/// What follows the name of a gRPC service in its path.
const METHOD: &str = "/{method}";

fn is_grpc_path(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.strip_suffix(METHOD));
    service.is_some_and(is_grpc_service)
}

/// Whether this is a valid full name of a gRPC service.
pub(crate) fn is_grpc_service(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Methods, host and path: `GET,POST example.com/users/{id}`, `any method /files/ and below`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.methods.is_empty() {
            f.write_str("any method")?;
        }
        for (nth, method) in self.methods.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            write!(f, "{comma}{method}")?;
        }
        write!(f, " {}{}", self.host.as_deref().unwrap_or_default(), self.path)?;
        if self.prefix { f.write_str(" and below") } else { Ok(()) }
    }
}
