//! A request on its way through a stream: claimed if its outcome is kept, published, confirmed, answered.

mod chores;
mod publish;
mod race;
mod store;

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, request};
use narun_core::durable::{keyed_id, request_digest};
use narun_core::frame::{RequestHead, ResponseFrame};
use narun_core::link::{NatsLink, Submit};
use narun_core::{Body, ExchangeId, Failure, FailureKind};
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use crate::Gateway;
use crate::gateway::{DurableRoute, RouteEntry};
use crate::idempotency::{Claim, Record, key_of};
use crate::prefer::Prefer;
use crate::status::{accepted, stored};

use race::{Winner, race};

pub(crate) use store::Store;

/// A request that has been received whole.
#[derive(Debug)]
pub(crate) struct Received {
    /// The request's id for logs and `X-Request-Id`, and that of the exchange unless a key decides.
    pub(crate) id: ExchangeId,
    pub(crate) parts: request::Parts,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Why there is no response, and where one may be later.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) location: Option<HeaderValue>,
}

impl<F: Into<Failure>> From<F> for Failed {
    fn from(failure: F) -> Self {
        Self { failure: failure.into(), location: None }
    }
}

/// A future of the response to a durable request. Boxed, so that direct ones need not be as large.
pub(crate) struct DurableFuture(Pin<Box<dyn Future<Output = Result<Response<Body>, Failed>> + Send>>);

impl DurableFuture {
    pub(crate) fn new(gateway: Gateway, route: Arc<RouteEntry>, received: Received) -> Self {
        Self(Box::pin(async move {
            match route.durable() {
                Some(durable) => Delivery::new(&gateway, &route, durable, &received).run(received).await,
                None => Err(FailureKind::StreamMissing.into()),
            }
        }))
    }
}

impl Future for DurableFuture {
    type Output = Result<Response<Body>, Failed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for DurableFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableFuture").finish_non_exhaustive()
    }
}

/// How a request is delivered.
struct Delivery<'a> {
    gateway: &'a Gateway,
    route: &'a RouteEntry,
    durable: &'a DurableRoute,
    /// Until when there must be something to tell the client.
    deadline: Instant,
    later: Option<Later>,
}

/// The client does not want to wait for a response: it gets 202 then.
struct Later {
    /// Whether that is the client's own wish, which is told.
    preferred: bool,
    /// Until when it waits all the same.
    wait: Option<Instant>,
}

impl<'a> Delivery<'a> {
    fn new(
        gateway: &'a Gateway,
        route: &'a RouteEntry,
        durable: &'a DurableRoute,
        received: &Received,
    ) -> Self {
        let now = Instant::now();
        let prefer = Prefer::of(&received.parts.headers);
        let later = (durable.respond_async || prefer.respond_async).then(|| Later {
            preferred: prefer.respond_async,
            wait: prefer.wait.filter(|wait| *wait > Duration::ZERO).map(|wait| now + wait.min(route.wait())),
        });
        Self { gateway, route, durable, deadline: now + route.wait(), later }
    }

    async fn run(&self, received: Received) -> Result<Response<Body>, Failed> {
        let key = key_of(&received.parts.headers)?;
        self.gateway.store().ready(self.deadline).await?;
        if key.is_none() && self.later.is_none() {
            let head = RequestHead::new(received.id);
            let (mut submit, _) = self.publish(head, &received).await.map_err(|error| error.failure)?;
            drop(received);
            return Ok(response(submit.answer().await?));
        }
        let (record, id) = self.record(key, &received).await?;
        let keyed = key.is_some();
        self.deliver_once(received, &record, id, keyed).await
    }

    /// The record of a request whose outcome is kept.
    async fn record(&self, key: Option<&[u8]>, received: &Received) -> Result<(Record, ExchangeId), Failure> {
        let store = self.gateway.store();
        let outcomes = timeout_at(self.deadline, store.outcomes()).await.map_err(|_| {
            Failure::new(FailureKind::JetStreamUnavailable).with_detail("the outcomes were not there in time")
        })??;
        let parts = &received.parts;
        let scope = self.gateway.scope(parts);
        let id = match key {
            Some(key) => keyed_id(store.tasks().namespace(), &self.durable.app, scope.as_ref(), key),
            None => received.id,
        };
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let digest = request_digest(&parts.method, target, &received.body);
        Ok((Record::new(outcomes, id, digest, scope), id))
    }

    /// Delivers a request unless that has been done before.
    async fn deliver_once(
        &self,
        received: Received,
        record: &Record,
        id: ExchangeId,
        keyed: bool,
    ) -> Result<Response<Body>, Failed> {
        let window = self.gateway.store().tasks().settings().get_duplicate_window();
        let (revision, attempt) = match record.claim(window, self.wait(), self.deadline).await? {
            Claim::Done(frame) => return Ok(stored(&frame, self.gateway.endpoint().limits())?),
            Claim::Pending => return self.unanswered(FailureKind::InProgress, id),
            Claim::Publish { revision, attempt } => (revision, attempt),
        };
        let mut head = RequestHead::new(id);
        head.attempt = attempt;
        head.outcome = Some(Box::new(record.reference()));
        let (mut submit, duplicate) = match self.publish(head, &received).await {
            Ok(published) => published,
            Err(error) => {
                // Another gateway may have published what was taken over from it.
                if !error.may_be_stored && attempt == 0 {
                    record.forget(revision).await;
                }
                return Err(error.failure.into());
            }
        };
        drop(received);
        let marking = async {
            if keyed {
                record.mark_published(revision).await;
            }
        };
        if self.later.as_ref().is_some_and(|later| later.wait.is_none()) {
            marking.await;
            return Ok(self.accepted(&id));
        }
        let answer = self.answer(&mut submit, record, duplicate && keyed, id);
        // Once there is an answer, its consumer has noted far more than that.
        match race(pin!(marking), pin!(answer)).await {
            Winner::Second(answer) => answer,
            Winner::First((), answer) => answer.await,
        }
    }

    /// Waits for the answer, or for the outcome where the answer may go to another gateway.
    async fn answer(
        &self,
        submit: &mut Submit<NatsLink>,
        record: &Record,
        duplicate: bool,
        id: ExchangeId,
    ) -> Result<Response<Body>, Failed> {
        let wait = self.wait();
        let foreign = duplicate && submit.published() == 1;
        let answer = async { timeout_at(wait, submit.answer()).await };
        let outcome = async {
            match duplicate {
                true => record.answer(wait, self.deadline).await,
                false => Ok(None),
            }
        };
        let answered = match race(pin!(outcome), pin!(answer)).await {
            Winner::First(Ok(Some(frame)), _) => {
                return Ok(stored(&frame, self.gateway.endpoint().limits())?);
            }
            // Not known by then, or not to be looked for.
            Winner::First(_, answer) => answer.await,
            Winner::Second(answered) => answered,
        };
        match answered {
            Ok(Ok(frame)) => Ok(response(frame)),
            Ok(Err(failure)) if failure.kind() != FailureKind::AnsweredLate => Err(failure.into()),
            _ if foreign => self.unanswered(FailureKind::InProgress, id),
            _ => self.unanswered(FailureKind::AnsweredLate, id),
        }
    }

    /// Until when an answer is waited for.
    fn wait(&self) -> Instant {
        match &self.later {
            None => self.deadline,
            Some(later) => later.wait.unwrap_or_else(Instant::now),
        }
    }

    /// What is told of a request that is in the stream, and not done.
    fn unanswered(&self, kind: FailureKind, id: ExchangeId) -> Result<Response<Body>, Failed> {
        if self.later.is_some() {
            return Ok(self.accepted(&id));
        }
        let failure = Failure::new(kind).with_detail(format!("request {id}"));
        Err(Failed { failure, location: Some(self.gateway.status().location(&id)) })
    }

    fn accepted(&self, id: &ExchangeId) -> Response<Body> {
        let preferred = self.later.as_ref().is_some_and(|later| later.preferred);
        accepted(self.gateway.status(), id, preferred)
    }
}

/// Notes the id under which a request is in the stream.
fn note_id(id: &ExchangeId) {
    Span::current().record("messaging.message.id", tracing::field::display(id));
}

/// The response that came as a frame.
pub(crate) fn response(frame: Box<ResponseFrame>) -> Response<Body> {
    Response::from_parts(frame.parts, Body::from(frame.body).with_trailers(frame.trailers))
}
