use std::net::SocketAddr;
use std::time::SystemTime;

use http::uri::Scheme;
use narun_core::{App, ExchangeId};
use tokio::time::Instant;

/// How a request was received. Every request has it in its extensions.
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
        /// The number of the gateway's attempt, from 0. Other attempts may have run before, or may be running.
        attempt: u8,
    },
    /// From a stream: at least once.
    Durable {
        /// How often the request has been delivered, including this time. The handler may have run in earlier
        /// deliveries, partly or to its end.
        count: u64,
        /// When the server stored the request, by its clock.
        first_received: SystemTime,
    },
}

impl Received {
    /// The id of the exchange, which is the same in every delivery of the request.
    pub const fn id(&self) -> ExchangeId {
        self.id
    }

    /// The app that the request is for.
    pub const fn app(&self) -> &App {
        &self.app
    }

    /// The HTTP client's address. `None` if the gateway does not know it.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The scheme of the HTTP client's request.
    pub const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// When the handler is dropped because it has timed out: at the gateway's timeout for a direct request, at
    /// [`Serve::handler_timeout`](crate::Serve::handler_timeout) for a durable one. `None` if there is no limit.
    ///
    /// This is the deadline at the time of receipt. It is extended while the request's body makes progress, and once
    /// the response has begun, only the gateway's total timeout applies.
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How the request was delivered.
    pub const fn delivery(&self) -> Delivery {
        self.delivery
    }
}
