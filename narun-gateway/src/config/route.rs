use std::fmt;

use http::Method;
use narun_core::App;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::value::{self, FromText, Seconds, given, given_text, text};
use crate::Route;
use crate::route::host::HostPattern;
use crate::route::is_grpc_service;
use crate::route::pattern::Pattern;
use crate::route::table::Hosts;

/// The value of `delivery`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DeliveryMode {
    /// To a running consumer.
    Direct,
    /// Through a stream.
    Durable,
}

/// A route of the file.
pub(super) struct RouteEntry {
    /// The route, of which `durable` is not decided yet.
    route: Route,
    /// `None` if the key is missing.
    delivery: Option<DeliveryMode>,
}

/// The list of routes. Each is compared with the previous ones while it is read, so that errors have their place.
pub(super) struct Routes(Vec<RouteEntry>);

/// The keys of a route.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default, deserialize_with = "given_text")]
    path: Option<Path>,
    #[serde(default, deserialize_with = "given_text")]
    grpc: Option<Service>,
    #[serde(deserialize_with = "text")]
    app: App,
    #[serde(default, deserialize_with = "given")]
    method: Option<Methods>,
    #[serde(default, deserialize_with = "given")]
    methods: Option<Methods>,
    #[serde(default, deserialize_with = "given_text")]
    host: Option<Host>,
    #[serde(default, deserialize_with = "given")]
    timeout_seconds: Option<Seconds>,
    #[serde(default, deserialize_with = "given")]
    max_body_bytes: Option<u64>,
    #[serde(default, deserialize_with = "given_text")]
    delivery: Option<DeliveryMode>,
    #[serde(default, deserialize_with = "given")]
    respond_async: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    expiry_seconds: Option<Seconds>,
}

struct Path(String);

/// A gRPC service.
struct Service(String);

struct Host(String);

/// A method or a list of methods. Not empty.
struct Methods(Vec<Method>);

/// A method in a list.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct OneMethod {
    #[serde(deserialize_with = "text")]
    method: Method,
}

struct RoutesVisitor;

/// Reads one route of the list.
struct RouteSeed<'a> {
    entries: &'a mut Vec<RouteEntry>,
    hosts: &'a mut Hosts,
}

struct MethodsVisitor;

impl RouteEntry {
    /// The route, given whether `nats_stream` is set. The error is a key and why it is invalid.
    pub(super) fn into_route(self, stream: bool) -> Result<Route, (&'static str, &'static str)> {
        let Self { mut route, delivery } = self;
        // A durable request has a whole body, and gRPC calls may be streams.
        let stream_by_default = stream && !route.grpc;
        if delivery == Some(DeliveryMode::Durable) && !stream {
            return Err(("delivery", "`durable` needs the key `nats_stream`, which is missing"));
        }
        route.durable = delivery.map_or(stream_by_default, |delivery| delivery == DeliveryMode::Durable);
        let problem = match stream {
            true if delivery.is_none() => {
                "is for durable routes, and a `grpc` route is direct without `delivery: durable`"
            }
            true => "is for durable routes, and this one is `delivery: direct`",
            false => "is for durable routes, which need the key `nats_stream`, which is missing",
        };
        match route.durable {
            false if route.respond_async => Err(("respond_async", problem)),
            false if route.expiry.is_some() => Err(("expiry_seconds", problem)),
            _ => Ok(route),
        }
    }
}

impl From<Routes> for Vec<RouteEntry> {
    fn from(Routes(entries): Routes) -> Self {
        entries
    }
}

impl<'de> Deserialize<'de> for Routes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RoutesVisitor)
    }
}

impl<'de> Visitor<'de> for RoutesVisitor {
    type Value = Routes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of routes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Routes, A::Error> {
        let (mut entries, mut hosts) = (Vec::new(), Hosts::default());
        while list.next_element_seed(RouteSeed { entries: &mut entries, hosts: &mut hosts })?.is_some() {}
        Ok(Routes(entries))
    }
}

impl<'de> DeserializeSeed<'de> for RouteSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RouteSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a route, a map with the keys `path` and `app`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let keys = Keys::deserialize(MapAccessDeserializer::new(map))?;
        let methods = match (keys.method, keys.methods) {
            (Some(_), Some(_)) => return Err(A::Error::custom("`method` and `methods` are both given")),
            (one, several) => one.or(several).map_or(Vec::new(), |Methods(methods)| methods),
        };
        let mut route = match (keys.path, keys.grpc) {
            (Some(Path(path)), None) => {
                let prefix = path.ends_with('/');
                Route { prefix, ..Route::new(methods, path, keys.app.as_str()) }
            }
            (None, Some(Service(service))) if methods.is_empty() => Route::grpc(service, keys.app.as_str()),
            (None, Some(_)) => return Err(A::Error::custom("`grpc` has its method: leave out `method`")),
            (Some(_), Some(_)) => return Err(A::Error::custom("`path` and `grpc` are both given")),
            (None, None) => return Err(A::Error::missing_field("path")),
        };
        route.host = keys.host.map(|Host(host)| host);
        route.timeout = keys.timeout_seconds.map(Into::into);
        route.max_body = keys.max_body_bytes;
        route.respond_async = keys.respond_async.unwrap_or_default();
        route.expiry = keys.expiry_seconds.map(Into::into);

        let inserted = self.hosts.insert(&route, self.entries.len()).map_err(A::Error::custom)?;
        inserted.map_err(|other| {
            A::Error::custom(format_args!(
                "`path` and `method`: route `{route}` matches the same requests as routes[{other}], `{}`",
                self.entries[other].route
            ))
        })?;
        self.entries.push(RouteEntry { route, delivery: keys.delivery });
        Ok(())
    }
}

impl FromText for Path {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Result<Self, String> {
        match Pattern::parse(text, text.ends_with('/')) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(problem) => Err(format!("the path `{text}` {problem}")),
        }
    }
}

impl FromText for Service {
    const EXPECTED: &'static str = "the name of a gRPC service";

    fn from_text(text: &str) -> Result<Self, String> {
        match is_grpc_service(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("`{text}` is not the name of a gRPC service, such as `package.Service`")),
        }
    }
}

impl FromText for Host {
    const EXPECTED: &'static str = "a host";

    fn from_text(text: &str) -> Result<Self, String> {
        match HostPattern::parse(Some(text)) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(problem) => Err(format!("host `{text}` {problem}")),
        }
    }
}

impl FromText for DeliveryMode {
    const EXPECTED: &'static str = "`direct` or `durable`";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "direct" => Ok(Self::Direct),
            "durable" => Ok(Self::Durable),
            other => Err(format!("`{other}` is neither `direct` nor `durable`")),
        }
    }
}

impl FromText for Method {
    const EXPECTED: &'static str = "a method";

    /// Refuses texts that are valid extension methods, but most likely mistakes.
    fn from_text(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        if text == "*" || upper == "ANY" || upper == "ALL" {
            return Err(format!("`{text}` is not a method: leave out the key for any"));
        }
        if text != upper {
            return Err(format!("`{text}` is not a method, since case matters: write `{upper}`"));
        }
        Self::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a method"))
    }
}

impl<'de> Deserialize<'de> for Methods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MethodsVisitor)
    }
}

impl<'de> Visitor<'de> for MethodsVisitor {
    type Value = Methods;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a method or a list of methods")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Methods, E> {
        value::parse(text).map(|method| Methods(vec![method]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Methods, A::Error> {
        let mut methods = Vec::new();
        while let Some(OneMethod { method }) = list.next_element()? {
            methods.push(method);
        }
        if methods.is_empty() {
            return Err(A::Error::custom("the list of methods is empty: leave out the key for any"));
        }
        Ok(Methods(methods))
    }
}
