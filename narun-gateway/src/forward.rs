//! What an app is told about the client: its address, the host and scheme that it asked for, and the request's id.

mod element;
pub(crate) mod fields;
pub(crate) mod request_id;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use http::request::Parts;
use http::uri::Scheme;

/// What becomes of `Forwarded` (RFC 7239) and of `X-Forwarded-For`, `-Host` and `-Proto` on the way to an app.
///
/// The client's address and scheme are those of the [`Peer`], the host is the one that the request is for. Without a
/// peer only the host is told: a scheme that a client claims in its target is no evidence of one. Ports of clients are
/// not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedPolicy {
    /// Adds to what came in: `Forwarded` and `X-Forwarded-For` get one more element, as a further field line, which
    /// is the same as one more element in the last line (RFC 9110, 5.3). `X-Forwarded-Host` and `-Proto` are set if
    /// they are missing. For a gateway behind proxies that are trusted; an app must know how many elements to believe.
    #[default]
    Append,
    /// Leaves out what came in, and tells what the gateway itself sees. For a gateway at the edge.
    Replace,
    /// Leaves these fields as they came in, and adds nothing.
    Off,
}

/// The other end of the connection that a request came in on, as the HTTP server saw it.
///
/// A server puts it into the extensions of its requests, where [`DefaultPeerHook`] finds it.
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
    /// A peer with this address, on a connection for this scheme: `https` if it is encrypted, else `http`.
    ///
    /// An IPv4 address written as IPv6, as listeners for both see it, becomes an IPv4 address.
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

/// Tells who sent a request.
///
/// Closures of the form `Fn(&Parts) -> Option<Peer>` are hooks, for servers that note the address elsewhere:
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
    /// The peer, if it is known. Called once for each request that matches a route.
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
