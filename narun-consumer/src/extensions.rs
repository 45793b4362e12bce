use std::net::SocketAddr;
use std::time::SystemTime;

use http::uri::Scheme;
use narun_core::{App, ExchangeId};
use tokio::time::Instant;

/// What is known of a request beyond HTTP, in its extensions.
///
/// ```
/// use narun_consumer::Received;
///
/// fn remaining<B>(request: &http::Request<B>) -> Option<std::time::Duration> {
///     let deadline = request.extensions().get::<Received>()?.deadline()?;
///     Some(deadline.saturating_duration_since(tokio::time::Instant::now()))
/// }
/// # assert_eq!(remaining(&http::Request::new(())), None);
/// ```
#[derive(Clone, Debug)]
pub struct Received {
    pub(crate) id: ExchangeId,
    pub(crate) app: App,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) scheme: Scheme,
    pub(crate) deadline: Option<Instant>,
    pub(crate) delivery: Delivery,
}

/// How a request was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// By plain request and reply: at most once for each attempt of the gateway.
    Direct {
        /// The number of the gateway's attempt, from 0. Another one may have run, or be running.
        attempt: u8,
    },
    /// Out of the stream: at least once.
    Durable {
        /// How often the request has been delivered, from 1. In one delivery before this one it may have run, to its
        /// end or in part.
        count: u64,
        /// When the stream took it, by the server's clock.
        first_received: SystemTime,
    },
}

impl Received {
    /// The identity of the exchange, the same in every delivery of the request.
    pub const fn id(&self) -> ExchangeId {
        self.id
    }

    /// The app that this consumer serves.
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// The HTTP client's address, if the gateway knows it.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The scheme that the HTTP client used.
    pub const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// When the handler is dropped, because nobody waits for its response any more, or for
    /// [`Serve::handler_timeout`](crate::Serve::handler_timeout). None: never. As known when the request came: a part of
    /// a body that comes piece by piece may put it off, and once the response has begun, only the gateway's limit for
    /// everything counts.
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How the request was delivered.
    pub const fn delivery(&self) -> Delivery {
        self.delivery
    }
}
