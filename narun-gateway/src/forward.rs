//! Fields that describe the client: its address, the host and scheme of its request, and the request's id.

mod cidr;
mod element;
pub(crate) mod fields;
pub(crate) mod request_id;
mod texts;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use http::request::Parts;
use http::uri::Scheme;

pub use self::cidr::{Cidr, ParseCidrError};

/// How to treat `Forwarded` (RFC 7239) and the `X-Forwarded-` fields.
///
/// An app that reads them believes them, so a stranger must not be able to write them. By default only the gateway does:
/// the client's address and scheme are those of the [`Peer`], without the port, and the host is that of the request.
/// Without a peer, only the host is set, since the scheme in a request's target is only what the client claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedPolicy {
    /// Appends to the fields of the [trusted proxies](crate::GatewayBuilder::trusted_proxies), and
    /// [replaces](Self::Replace) the fields of all other peers and of unknown ones. Without trusted proxies, which is the
    /// default, the fields of all clients are replaced.
    ///
    /// To append means to add an element to `Forwarded` and `X-Forwarded-For`, as a further field line, which means the
    /// same as a further element of the last line (RFC 9110, 5.3). `X-Forwarded-Host` and `X-Forwarded-Proto` are set if
    /// they are missing, and others stay.
    #[default]
    Append,
    /// Drops `Forwarded` and all fields that begin with `X-Forwarded-`, also with underscores, whoever sent them. Sets
    /// `Forwarded`, `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto` to what the gateway itself sees.
    Replace,
    /// Passes the fields on unchanged. The app then sees what any client claims, unless an outer layer checks it.
    Off,
}

/// The policy, and whose fields it believes.
#[derive(Debug, Default)]
pub(crate) struct Forwarding {
    pub(crate) policy: ForwardedPolicy,
    pub(crate) trusted: Vec<Cidr>,
}

impl Forwarding {
    /// The policy for a request from this peer: to append only if it is trusted.
    fn policy_for(&self, peer: Option<&Peer>) -> ForwardedPolicy {
        let is_trusted = || {
            let address = peer.map(|peer| peer.address().ip());
            address.is_some_and(|address| self.trusted.iter().any(|block| block.contains(address)))
        };
        match self.policy {
            ForwardedPolicy::Append if !is_trusted() => ForwardedPolicy::Replace,
            policy => policy,
        }
    }
}

/// The client's end of an HTTP connection, as the server sees it.
///
/// An HTTP server inserts it into the extensions of its requests, from where [`DefaultPeerHook`] takes it.
///
/// ```
/// use http::uri::Scheme;
/// use narun_gateway::Peer;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Peer::new(([192, 0, 2, 1], 1234).into(), Scheme::HTTPS));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    scheme: Scheme,
}

impl Peer {
    /// A peer with this address, on a connection with this scheme: `https` if it is encrypted, else `http`.
    ///
    /// An IPv4-mapped IPv6 address becomes an IPv4 address.
    pub fn new(address: SocketAddr, scheme: Scheme) -> Self {
        Self { address: SocketAddr::new(address.ip().to_canonical(), address.port()), scheme }
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The scheme.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }
}

/// Finds the peer of a request.
///
/// Closures of the form `Fn(&Parts) -> Option<Peer>` are hooks, for servers that store the address elsewhere:
///
/// ```
/// use std::net::SocketAddr;
///
/// use http::uri::Scheme;
/// use narun_gateway::{Peer, PeerHook};
///
/// let hook = |parts: &http::request::Parts| {
///     let address = parts.extensions.get::<SocketAddr>()?;
///     Some(Peer::new(*address, Scheme::HTTP))
/// };
/// # let mut parts = http::Request::new(()).into_parts().0;
/// # assert_eq!(hook.peer(&parts), None);
/// # parts.extensions.insert(SocketAddr::from(([192, 0, 2, 1], 1234)));
/// # assert_eq!(hook.peer(&parts).unwrap().address().port(), 1234);
/// ```
pub trait PeerHook: Send + Sync + 'static {
    /// Returns the peer, or `None` if it is not known. Called once for each request that matches a route.
    fn peer(&self, parts: &Parts) -> Option<Peer>;
}

impl<F> PeerHook for F
where
    F: Fn(&Parts) -> Option<Peer> + Send + Sync + 'static,
{
    fn peer(&self, parts: &Parts) -> Option<Peer> {
        self(parts)
    }
}

/// The hook that takes the [`Peer`] from the request's extensions.
///
/// With the feature `axum`, and without a `Peer`, it takes axum's `ConnectInfo<SocketAddr>`, which requests have if the app
/// is served with `into_make_service_with_connect_info::<SocketAddr>()`. The scheme then is `http`, as `axum::serve` does
/// not encrypt: insert a `Peer` behind a server that does.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultPeerHook;

impl PeerHook for DefaultPeerHook {
    fn peer(&self, parts: &Parts) -> Option<Peer> {
        parts.extensions.get().cloned().or_else(|| connected(parts))
    }
}

#[cfg(feature = "axum")]
fn connected(parts: &Parts) -> Option<Peer> {
    let axum::extract::ConnectInfo(address) =
        parts.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>()?;
    Some(Peer::new(*address, Scheme::HTTP))
}

#[cfg(not(feature = "axum"))]
fn connected(_parts: &Parts) -> Option<Peer> {
    None
}
