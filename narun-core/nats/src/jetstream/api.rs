//! The client of JetStream's API.
//!
//! | what | where |
//! |---|---|
//! | requests, each with a limit: [`Api`] | here |
//! | what sends them: [`Requester`] | `requester` |
//! | errors, and which of them are temporary: [`ApiError`] | `error` |
//! | messages that a stream has | `messages` |
//! | messages that a stream is to store | `publish` |

mod error;
mod messages;
mod publish;
mod requester;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::response::Response;
use async_nats::jetstream::{consumer, stream};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;

use crate::nats_client::NatsClient;
use crate::nats_events::DenialWatch;

pub use error::ApiError;
pub(super) use error::says_full;
pub(super) use messages::StoredMessage;
pub(super) use publish::PendingMessage;
pub use requester::Requester;

/// The default limit of a request.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// JetStream's API, asked through `R`. Cheap to clone if `R` is.
///
/// A request is sent once: see [`retry`](super::retry) for what can be sent again.
#[derive(Clone, Debug)]
pub struct Api<R> {
    requester: R,
    prefix: Arc<str>,
    limit: Duration,
    /// By which a request fails at once if the user may not send it.
    denials: DenialWatch,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    total: usize,
    // Null if the list is empty.
    #[serde(rename = "streams", alias = "consumers")]
    items: Option<Vec<T>>,
}

impl<R: Requester> Api<R> {
    /// The API of the account, with a limit of 5 s for each request.
    pub fn new(requester: R) -> Self {
        Self { requester, prefix: "$JS.API".into(), limit: LIMIT, denials: DenialWatch::none() }
    }

    /// The API of this domain.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Self {
        self.prefix = format!("$JS.{domain}.API").into();
        self
    }

    /// How long a request may take, from sending it to the response. Default 5 s.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Fails what this client's user may not publish at once, as far as the client has events. Default: after the limit.
    #[must_use]
    pub(super) fn denials(mut self, nats: &NatsClient) -> Self {
        self.denials = nats.watch();
        self
    }

    /// What subjects begin with: `$JS.API`, or that of the domain.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What sends the requests.
    pub const fn requester(&self) -> &R {
        &self.requester
    }

    /// The full subject of an operation, such as `STREAM.INFO.<stream>`.
    pub fn subject(&self, operation: &str) -> String {
        format!("{}.{operation}", self.prefix)
    }

    /// Sends a request and returns the response. A request of `()` has no content.
    ///
    /// # Errors
    ///
    /// [`ApiError::Server`] if the server returned an error, [`ApiError::Denied`] if the user may not send the request;
    /// otherwise the operation may have been done or not.
    pub async fn request<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &(impl Serialize + ?Sized),
    ) -> Result<T, ApiError> {
        let payload = match serde_json::to_vec(request)? {
            null if null == b"null" => Bytes::new(),
            payload => payload.into(),
        };
        let (limit, subject) = (self.limit, self.subject(operation));
        let sent = {
            let mut denials = self.denials.renewed();
            let sending = timeout(limit, self.requester.send(subject.clone(), payload));
            tokio::select! {
                biased;
                sent = sending => sent,
                denied = denials.publish_denied(&subject) => return Err(denied.into()),
            }
        };
        let reply = sent.map_err(|_| ApiError::NoResponse { subject, limit })??;
        match serde_json::from_slice(&reply.payload) {
            Ok(Response::Ok(response)) => Ok(response),
            Ok(Response::Err { error }) => Err(ApiError::Server(error)),
            Err(_) => Err(ApiError::Malformed),
        }
    }

    /// Requests a list page by page, and calls `each` with every item.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request); `each` has got the items of the pages before.
    pub async fn list<T: DeserializeOwned>(
        &self,
        operation: &str,
        mut request: Value,
        mut each: impl FnMut(T),
    ) -> Result<(), ApiError> {
        let mut offset = 0;
        loop {
            request["offset"] = offset.into();
            let page: Page<T> = self.request(operation, &request).await?;
            let items = page.items.unwrap_or_default();
            offset += items.len();
            let done = items.is_empty() || offset >= page.total;
            items.into_iter().for_each(&mut each);
            if done {
                return Ok(());
            }
        }
    }

    /// The stream of this name.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request); [`ErrorCode::STREAM_NOT_FOUND`](async_nats::jetstream::ErrorCode) if there is no
    /// such stream.
    pub async fn stream_info(&self, stream: &str) -> Result<stream::Info, ApiError> {
        self.request(&format!("STREAM.INFO.{stream}"), &()).await
    }

    /// The consumer of this name.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request); [`ErrorCode::CONSUMER_NOT_FOUND`](async_nats::jetstream::ErrorCode) if the stream
    /// has no such consumer.
    pub async fn consumer_info(&self, stream: &str, consumer: &str) -> Result<consumer::Info, ApiError> {
        self.request(&format!("CONSUMER.INFO.{stream}.{consumer}"), &()).await
    }
}
