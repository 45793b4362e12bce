//! The configuration file of a gateway.

mod forwarded;
mod limits;
mod listen;
mod route;
mod server;
mod stream;
mod value;
mod variable;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use narun_core::Namespace;
use narun_nats::jetstream::StreamSettings;
use narun_nats::{AccessError, NatsAccess};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use self::forwarded::Blocks;
pub use self::limits::GatewayLimits;
pub use self::listen::{ListenAddr, ParseListenAddrError};
use self::route::Routes;
use self::server::ServerKeys;
pub use self::server::ServerLimits;
use self::stream::StreamKeys;
use self::value::{NatsUrl, Seconds, given, given_text};
use crate::{Cidr, FieldCallerHook, ForwardedPolicy, Route};

/// The configuration file of a gateway.
///
/// ```
/// use narun_gateway::config::Config;
///
/// let config: Config = serde_yaml_ng::from_str(r#"
/// nats_url: "nats://localhost:4222"
/// server_addr: ":8080"
/// metrics_addr: ":9090"
/// request_timeout_seconds: 15
/// routes:
///   - path: "/hello/"
///     method: "POST"
///     app: "hello"
/// "#)?;
///
/// assert_eq!(config.server_addr().candidates(), ["[::]:8080", "0.0.0.0:8080"]);
/// assert_eq!(config.routes(), [narun_gateway::Route::post("/hello/", "hello").prefix()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It is read with serde, in any format. All keys are optional except a route's `app`, and its `path` or `grpc`:
///
/// | key | meaning | default |
/// |---|---|---|
/// | `nats_url` | the NATS server; it may have a user and a password, `nats://user:password@host` | `nats://localhost:4222` |
/// | `nats_username`, `nats_password` | the user, and the password | none |
/// | `nats_token` | a token | none |
/// | `nats_creds` | a file with credentials: a user's JWT and seed | none |
/// | `nats_nkey` | the seed of a user's nkey | none |
/// | `nats_tls_ca` | a file with certificate authorities in PEM; requires TLS | those of the system |
/// | `nats_tls_cert`, `nats_tls_key` | files with the client's certificate and its key in PEM; require TLS | none |
/// | `server_addr` | the address of the HTTP server, `:port` or `host:port` | `:8080` |
/// | `metrics_addr` | the address of the metrics | `127.0.0.1:9090` |
/// | `server` | a map: what the HTTP server permits its clients | the defaults below |
/// | `request_timeout_seconds` | how long to wait for the response's head: a number over 0, at most 86,400 | 15 |
/// | `nats_stream` | the stream of durable requests, which is also the namespace; makes routes durable | none; namespace `TASK` |
/// | `stream` | a map: how the streams and buckets of durable requests are declared; needs `nats_stream` | the defaults below |
/// | `caller_field` | the field whose value separates callers, see [`FieldCallerHook`], or `none` | `authorization` |
/// | `forwarded` | `append`, `replace` or `off`, see [`ForwardedPolicy`] | `append` |
/// | `trusted_proxies` | a list of blocks of addresses, such as `10.0.0.0/8`, whose `Forwarded` and `X-Forwarded-` fields are believed; only with `append` | none: the fields of all clients are replaced |
/// | `limits` | a map: memory, rates and waits of the gateway | the defaults below |
/// | `routes` | a list of routes | empty |
///
/// | key of `server` | meaning | default |
/// |---|---|---|
/// | `keep_alive_seconds` | how long a connection may stay open without a request: a number over 0, at most 86,400 | 75 |
/// | `head_timeout_seconds` | how long the head of a request may take, likewise | 30 |
/// | `max_connections` | how many connections may be open: a number over 0 | 16,384 |
/// | `max_streams` | how many requests an HTTP/2 connection may have in flight: a number over 0 | 200 |
///
/// | key of `stream` | meaning | default |
/// |---|---|---|
/// | `storage` | `file` or `memory`, see [`StreamSettings::storage`] | `file` |
/// | `replicas` | how many servers of a cluster keep each message, 1 to 5 | 1 |
/// | `max_bytes` | the most bytes of requests that wait | 268,435,456 (256 MiB) |
/// | `bodies_max_bytes` | the most bytes of bodies that do not fit a message | 268,435,456 (256 MiB) |
/// | `outcomes_max_bytes` | the most bytes of outcomes | 134,217,728 (128 MiB) |
/// | `dead_letters_max_bytes` | the most bytes of dead letters | 67,108,864 (64 MiB) |
/// | `max_messages` | the most requests that wait | no limit |
/// | `max_age_seconds` | the age at which the server drops a waiting request | never |
/// | `duplicate_window_seconds` | how long the server recognises a request that is published twice | 120 |
/// | `outcome_ttl_seconds` | how long outcomes are kept | 86,400 (24 hours) |
/// | `declare` | whether to create what is missing, see [`StreamSettings::declare`] | `true` |
/// | `domain` | the JetStream domain of another server, see [`StreamSettings::domain`] | that of the server |
///
/// | key of `limits` | meaning | default |
/// |---|---|---|
/// | `window_bytes` | how much of a response is buffered, see [`GatewayBuilder::window`](crate::GatewayBuilder::window) | 1,048,576 (1 MiB) |
/// | `budget_bytes` | the same of all responses, see [`GatewayBuilder::budget`](crate::GatewayBuilder::budget) | 50,331,648 (48 MiB) |
/// | `body_budget_bytes` | the most bytes of durable requests' bodies in memory, see [`GatewayBuilder::body_budget`](crate::GatewayBuilder::body_budget) | 25,165,824 (24 MiB) |
/// | `body_bytes_per_second` | how fast a client must send a body that is collected, 0 for any rate, see [`GatewayBuilder::body_rate`](crate::GatewayBuilder::body_rate) | 1024 |
/// | `body_timeout_seconds` | how long it may take for the body of a durable request, see [`GatewayBuilder::body_timeout`](crate::GatewayBuilder::body_timeout): a number over 0, at most 86,400 | 3600 |
/// | `reconnect_grace_seconds` | how long a consumer may take to connect again, see [`GatewayBuilder::reconnect_grace`](crate::GatewayBuilder::reconnect_grace), likewise | 5 |
/// | `linger_seconds` | how long the rest of a body is read after an early response, see [`Linger::time`](crate::Linger::time), likewise | 30 |
/// | `linger_pause_seconds` | the longest wait for its next bytes, see [`Linger::pause`](crate::Linger::pause), likewise | 5 |
/// | `linger_bytes` | the most bytes of it, see [`Linger::bytes`](crate::Linger::bytes) | 67,108,864 (64 MiB) |
/// | `linger_bodies` | the most such bodies at a time, 0 for none, see [`Linger::bodies`](crate::Linger::bodies) | 1024 |
///
/// | key of a route | meaning | default |
/// |---|---|---|
/// | `path` | a path in the syntax of [`Route`]; if it ends in `/`, it is a [prefix](Route::prefix), which in code is said with `.prefix()` | required, or `grpc` |
/// | `grpc` | a gRPC service, `package.Service`, instead of `path` and `method`, see [`Route::grpc`] | none |
/// | `app` | the app's name | required |
/// | `method` or `methods` | one, or a list, in upper case | any |
/// | `host` | a host or `*.example.com` | any |
/// | `timeout_seconds` | as `request_timeout_seconds`, for this route | `request_timeout_seconds`; no limit with `grpc` |
/// | `max_body_bytes` | the most bytes of a request's body, see [`Route::max_body`] | no limit; 10 MiB if durable |
/// | `delivery` | `direct`, or `durable`, which needs `nats_stream`, see [`Route::durable`] | `durable` with `nats_stream`; `direct` without it and with `grpc` |
/// | `respond_async` | `true` responds with 202 when the request is stored, see [`Route::respond_async`]; durable routes only | `false` |
/// | `expiry_seconds` | how long a request may wait in the stream, see [`Route::expiry`]; durable routes only | no limit |
///
/// At most one way to authenticate to NATS may be given.
///
/// # Environment variables
///
/// In every text, `${NAME}` is replaced by an environment variable, which is an error if it is not set, and
/// `${NAME:-default}` by the default, a plain text, if it is unset or empty. `$${` is `${` itself. So secrets need not be
/// in the file:
///
/// ```
/// # use narun_gateway::config::Config;
/// let text = r#"
/// nats_url: "nats://${NATS_HOST:-localhost}:4222"
/// nats_token: "${NATS_TOKEN:-secret}"
/// "#;
/// let config: Config = serde_yaml_ng::from_str(text)?;
/// # if std::env::var_os("NATS_HOST").is_none() && std::env::var_os("NATS_TOKEN").is_none() {
/// assert_eq!(config.nats_url(), "nats://localhost:4222");
/// assert_eq!(config.nats_access().token.as_deref(), Some("secret"));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Unknown, repeated and missing keys, invalid values and conflicting routes are errors of deserialization. They name the key,
/// and the place if the format's library does:
///
/// ```
/// # use narun_gateway::config::Config;
/// let text = "routes:\n- path: /a\n  app: a\n  method: post\n";
/// let error = serde_yaml_ng::from_str::<Config>(text).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "routes[0].method: `post` is not a method, since case matters: write `POST` at line 4 column 11"
/// );
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    nats_url: NatsUrl,
    nats_access: NatsAccess,
    server_addr: ListenAddr,
    metrics_addr: ListenAddr,
    server: ServerLimits,
    request_timeout: Duration,
    nats_stream: Option<Namespace>,
    stream: StreamSettings,
    caller_field: FieldCallerHook,
    forwarded: ForwardedPolicy,
    trusted_proxies: Vec<Cidr>,
    limits: GatewayLimits,
    routes: Vec<Route>,
}

impl Config {
    /// `nats_url`: the NATS server, without user and password.
    pub fn nats_url(&self) -> &str {
        self.nats_url.as_str()
    }

    /// How to authenticate to NATS, from `nats_url` or other keys, and the files for TLS.
    pub fn nats_access(&self) -> &NatsAccess {
        &self.nats_access
    }

    /// `server_addr`: the address of the HTTP server.
    pub fn server_addr(&self) -> &ListenAddr {
        &self.server_addr
    }

    /// `metrics_addr`: the address of the metrics.
    pub fn metrics_addr(&self) -> &ListenAddr {
        &self.metrics_addr
    }

    /// What the HTTP server permits its clients.
    pub fn server_limits(&self) -> &ServerLimits {
        &self.server
    }

    /// `request_timeout_seconds`: how long to wait for the response's head, for routes without `timeout_seconds`.
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// `nats_stream`: the stream of durable requests. Returns `None` if it is not set.
    pub fn nats_stream(&self) -> Option<&Namespace> {
        self.nats_stream.as_ref()
    }

    /// The namespace of all apps: `nats_stream`, or the default one.
    pub fn namespace(&self) -> Namespace {
        self.nats_stream.clone().unwrap_or_default()
    }

    /// `stream`: how the streams and buckets of durable requests are declared, for
    /// [`GatewayBuilder::stream_settings`](crate::GatewayBuilder::stream_settings).
    pub fn stream_settings(&self) -> &StreamSettings {
        &self.stream
    }

    /// `caller_field`: how to separate callers, for [`GatewayBuilder::caller`](crate::GatewayBuilder::caller).
    pub fn caller_field(&self) -> &FieldCallerHook {
        &self.caller_field
    }

    /// `forwarded`: how to treat `Forwarded` and the `X-Forwarded-` fields.
    pub fn forwarded(&self) -> ForwardedPolicy {
        self.forwarded
    }

    /// `trusted_proxies`: whose `Forwarded` and `X-Forwarded-` fields are believed.
    pub fn trusted_proxies(&self) -> &[Cidr] {
        &self.trusted_proxies
    }

    /// `limits`: memory, rates and waits, for [`GatewayBuilder::limits`](crate::GatewayBuilder::limits).
    pub fn limits(&self) -> &GatewayLimits {
        &self.limits
    }

    /// The routes.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Whether another key than `routes` differs from `running`, so that
    /// [`Gateway::replace_routes`](crate::Gateway::replace_routes) does not suffice.
    pub fn needs_restart(&self, running: &Self) -> bool {
        let without_routes = |config: &Self| Self { routes: Vec::new(), ..config.clone() };
        without_routes(self) != without_routes(running)
    }
}

/// The configuration of an empty file.
impl Default for Config {
    fn default() -> Self {
        Self {
            nats_url: NatsUrl::default(),
            nats_access: NatsAccess::default(),
            server_addr: ListenAddr::all(8080),
            metrics_addr: ListenAddr::local(9090),
            server: ServerLimits::default(),
            request_timeout: Duration::from_secs(15),
            nats_stream: None,
            stream: StreamSettings::new(),
            caller_field: FieldCallerHook::default(),
            forwarded: ForwardedPolicy::default(),
            trusted_proxies: Vec::new(),
            limits: GatewayLimits::default(),
            routes: Vec::new(),
        }
    }
}

/// The keys of the file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default, deserialize_with = "given_text")]
    nats_url: Option<NatsUrl>,
    #[serde(default, deserialize_with = "given_text")]
    nats_username: Option<String>,
    #[serde(default, deserialize_with = "given_text")]
    nats_password: Option<String>,
    #[serde(default, deserialize_with = "given_text")]
    nats_token: Option<String>,
    #[serde(default, deserialize_with = "given_text")]
    nats_creds: Option<PathBuf>,
    #[serde(default, deserialize_with = "given_text")]
    nats_nkey: Option<String>,
    #[serde(default, deserialize_with = "given_text")]
    nats_tls_ca: Option<PathBuf>,
    #[serde(default, deserialize_with = "given_text")]
    nats_tls_cert: Option<PathBuf>,
    #[serde(default, deserialize_with = "given_text")]
    nats_tls_key: Option<PathBuf>,
    #[serde(default, deserialize_with = "given")]
    server_addr: Option<ListenAddr>,
    #[serde(default, deserialize_with = "given")]
    metrics_addr: Option<ListenAddr>,
    #[serde(default, deserialize_with = "given")]
    server: Option<ServerKeys>,
    #[serde(default, deserialize_with = "given")]
    request_timeout_seconds: Option<Seconds>,
    #[serde(default, deserialize_with = "given_text")]
    nats_stream: Option<Namespace>,
    #[serde(default, deserialize_with = "given_text")]
    caller_field: Option<FieldCallerHook>,
    #[serde(default, deserialize_with = "given_text")]
    forwarded: Option<ForwardedPolicy>,
    #[serde(default, deserialize_with = "given")]
    trusted_proxies: Option<Blocks>,
    #[serde(default, deserialize_with = "given")]
    stream: Option<StreamKeys>,
    #[serde(default, deserialize_with = "given")]
    limits: Option<GatewayLimits>,
    #[serde(default, deserialize_with = "given")]
    routes: Option<Routes>,
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ConfigVisitor)
    }
}

/// Checks the keys together while they are read, so that errors have their place.
struct ConfigVisitor;

impl<'de> Visitor<'de> for ConfigVisitor {
    type Value = Config;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration of a gateway, a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Config, A::Error> {
        let keys = Keys::deserialize(MapAccessDeserializer::new(map))?;
        if keys.stream.is_some() && keys.nats_stream.is_none() {
            return Err(A::Error::custom("`stream` needs the key `nats_stream`, which is missing"));
        }
        let default = Config::default();
        let mut nats_access = NatsAccess {
            username: keys.nats_username,
            password: keys.nats_password,
            token: keys.nats_token,
            creds: keys.nats_creds,
            nkey: keys.nats_nkey,
            tls_ca: keys.nats_tls_ca,
            tls_cert: keys.nats_tls_cert,
            tls_key: keys.nats_tls_key,
        };
        let nats_url = keys.nats_url.unwrap_or(default.nats_url).without_user(&mut nats_access);
        let nats_url = nats_url.and_then(|url| nats_access.check().map(|()| url)).map_err(access_error)?;
        let forwarded = keys.forwarded.unwrap_or_default();
        if keys.trusted_proxies.is_some() && forwarded != ForwardedPolicy::Append {
            return Err(A::Error::custom("trusted_proxies: only `forwarded: append` uses them"));
        }
        let entries = keys.routes.map_or(Vec::new(), Vec::from);
        let routes = entries.into_iter().enumerate().map(|(number, entry)| {
            entry
                .into_route(keys.nats_stream.is_some())
                .map_err(|(key, problem)| A::Error::custom(format_args!("routes[{number}].{key}: {problem}")))
        });
        Ok(Config {
            routes: routes.collect::<Result<_, _>>()?,
            nats_url,
            nats_access,
            server_addr: keys.server_addr.unwrap_or(default.server_addr),
            metrics_addr: keys.metrics_addr.unwrap_or(default.metrics_addr),
            server: keys.server.map_or(default.server, ServerLimits::from),
            request_timeout: keys.request_timeout_seconds.map_or(default.request_timeout, Duration::from),
            nats_stream: keys.nats_stream,
            stream: keys.stream.map_or(default.stream, Into::into),
            caller_field: keys.caller_field.unwrap_or(default.caller_field),
            forwarded,
            trusted_proxies: keys.trusted_proxies.map_or(Vec::new(), |Blocks(blocks)| blocks),
            limits: keys.limits.unwrap_or_default(),
        })
    }

    /// An empty file.
    fn visit_unit<E: Error>(self) -> Result<Config, E> {
        Ok(Config::default())
    }
}

/// Names the keys of an error.
fn access_error<E: Error>(error: AccessError) -> E {
    match error {
        AccessError::Incomplete { setting, other } => {
            E::custom(format_args!("`nats_{setting}` needs the key `nats_{other}`, which is missing"))
        }
        AccessError::Several { setting, other } => {
            E::custom(format_args!("`nats_{setting}` and `nats_{other}` are two ways to authenticate"))
        }
        error => E::custom(format_args!("nats_url: {error}")),
    }
}
