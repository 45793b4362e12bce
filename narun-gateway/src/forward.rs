//! Fields that describe the client: its address, the host and scheme of its request, and the request's id.

mod element;
pub(crate) mod fields;
pub(crate) mod request_id;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use http::request::Parts;
use http::uri::Scheme;

/// How to treat `Forwarded` (RFC 7239), `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
///
/// The client's address and scheme are those of the [`Peer`], without the port. The host is that of the request. Without a
/// peer, only the host is added: the scheme in a request's target is only what the client claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedPolicy {
    /// Adds an element to `Forwarded` and `X-Forwarded-For`, as a further field line, which means the same as a further
    /// element of the last line (RFC 9110, 5.3). Sets `X-Forwarded-Host` and `X-Forwarded-Proto` if they are missing.
    ///
    /// For a gateway behind trusted proxies. An app must know how many elements to trust.
    #[default]
    Append,
    /// Drops the client's fields, and sets what the gateway itself sees. For a gateway at the edge.
    Replace,
    /// Passes the client's fields on unchanged.
    Off,
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
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultPeerHook;

impl PeerHook for DefaultPeerHook {
    fn peer(&self, parts: &Parts) -> Option<Peer> {
        parts.extensions.get().cloned()
    }
}
