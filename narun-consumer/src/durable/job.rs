//! One delivery of a durable request, from its receipt to its acknowledgement.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use narun_core::frame::{DecodeError, ObjectRef, OutcomeRef, RequestFrame, RequestHead};
use narun_core::{Body, ExchangeId, Failure, FailureContext, FailureKind};
use narun_nats::inbox::Mail;
use narun_nats::jetstream::header;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;
use tracing::{Instrument, Span};

use super::acks::{Ack, Claim, Delivered};
use super::dead::{Failed, Reason, bury};
use super::state::Shared;
use super::store::{Trouble, trying};
use crate::error::BoxError;
use crate::extensions::{Delivery, Received};
use crate::handler::{Answered, Extent, Handler, HandlerError};
use crate::metrics::{self, HandlerFailure};
use crate::response::{encode, report, too_large, unsendable};

/// How long the server may take to confirm an acknowledgement.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// A delivery to be worked on.
pub(super) struct Job {
    pub(super) claim: Claim,
    pub(super) work: Work,
    /// After what time without a word the server gives it to another consumer.
    pub(super) ack_wait: Duration,
}

/// What there is to do, apart from its acknowledgement.
pub(super) struct Work {
    shared: Arc<Shared>,
    delivered: Delivered,
    payload: Bytes,
    headers: HeaderMap,
}

/// How a delivery ends.
enum Verdict {
    /// The request is done; its body's object is not needed any more.
    Done(Option<Box<ObjectRef>>),
    /// It has to be delivered again.
    Again(Duration),
    /// It is a dead letter.
    Dead,
}

/// A request that is to be answered, whatever the answer.
struct Asked {
    head: RequestHead,
    context: FailureContext,
}

impl Job {
    /// Works until the server is told what became of it; dropped before that, the delivery is given back.
    pub(super) async fn run<S, B>(self, service: S)
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: http_body::Body,
        B::Error: Into<BoxError>,
    {
        let Self { mut claim, work, ack_wait } = self;
        let verdict = {
            let running = pin!(work.run(service));
            while_working(&claim, ack_wait / 3, running).await
        };
        match verdict {
            Verdict::Done(None) => claim.settle(Ack::Done).await,
            Verdict::Done(Some(object)) => work.finish_with(&mut claim, &object).await,
            Verdict::Again(delay) => claim.settle(Ack::Again(delay)).await,
            Verdict::Dead => claim.settle(Ack::Never).await,
        }
    }
}

/// Tells the server again and again that work goes on.
async fn while_working<T>(claim: &Claim, every: Duration, mut work: impl Future<Output = T> + Unpin) -> T {
    let mut pause = pin!(sleep(every));
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = &mut pause => {
                claim.working();
                pause.as_mut().reset(Instant::now() + every);
            }
        }
    }
}

impl Work {
    pub(super) fn new(shared: Arc<Shared>, delivered: Delivered, message: Message) -> Self {
        Self { shared, delivered, payload: message.payload, headers: message.headers.unwrap_or_default() }
    }

    async fn run<S, B>(&self, service: S) -> Verdict
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: http_body::Body,
        B::Error: Into<BoxError>,
    {
        let received = Instant::now();
        let Shared { consumer, metrics, .. } = self.shared.as_ref();
        if self.delivered.count > 1 {
            metrics.redelivered.increment(1);
        }
        let frame = match RequestFrame::decode(&self.payload, consumer.endpoint.limits()) {
            Ok(frame) if frame.head.end => frame,
            Ok(_) => {
                return self.give_up(None, Reason::Unreadable("a body that is not whole".to_owned())).await;
            }
            // A newer consumer may be there, or soon.
            Err(error @ DecodeError::Version(_)) if !self.is_last() => {
                tracing::debug!(delivery = self.delivered.count, %error, "left to another consumer");
                return self.again();
            }
            Err(error) => return self.give_up(None, Reason::Unreadable(error.to_string())).await,
        };
        let context = FailureContext::of_request(&frame.parts.method, &frame.parts.headers);
        let RequestFrame { head, parts, body, trailers } = frame;
        let asked = Asked { head, context };
        let span = (consumer.make_span)(&parts, &consumer.app);
        let work = pin!(async {
            if !self.is_own(&asked.head) {
                return self.give_up(Some(&asked), Reason::Foreign).await;
            }
            if let Err(verdict) = self.check(&asked).await {
                return verdict;
            }
            let body = match &asked.head.object {
                None => body,
                Some(object) => match self.shared.body(object).await {
                    Ok(body) => body,
                    Err(Trouble::Temporary(_)) => return self.again(),
                    Err(Trouble::Final(why)) if self.is_last() => {
                        return self.give_up(Some(&asked), Reason::NoBody(why)).await;
                    }
                    // Another delivery may have overtaken this one, and be done; then there is no further one.
                    Err(Trouble::Final(why)) => {
                        tracing::debug!(delivery = self.delivered.count, why, "the body is not there");
                        return self.again();
                    }
                },
            };
            let mut request = Request::from_parts(parts, Body::from(body).with_trailers(trailers));
            request.extensions_mut().insert(self.received(&asked.head));
            match self.handle(service, request, &asked.context, received, &span).await {
                Ok(answer) => self.conclude(&asked, answer).await,
                Err(failed) if self.is_last() => self.give_up(Some(&asked), Reason::Failed(failed)).await,
                Err(failed) => {
                    tracing::debug!(delivery = self.delivered.count, %failed, "a delivery failed");
                    self.again()
                }
            }
        });
        work.instrument(span.clone()).await
    }

    /// Whether there is no delivery after it.
    fn is_last(&self) -> bool {
        self.delivered.count >= self.shared.settings.max_deliveries
    }

    /// Whether it refers to nothing but what is its own namespace's: anything else would be touched with our rights.
    fn is_own(&self, head: &RequestHead) -> bool {
        let bucket = self.shared.tasks.namespace().bodies_bucket();
        head.object.as_ref().is_none_or(|object| object.bucket == bucket)
            && head.outcome.as_ref().is_none_or(|outcome| self.is_ours(outcome))
    }

    fn is_ours(&self, outcome: &OutcomeRef) -> bool {
        outcome.bucket == self.shared.tasks.namespace().outcomes_bucket()
    }

    /// Whether the request is to be run at all; the error is what becomes of it instead.
    async fn check(&self, asked: &Asked) -> Result<(), Verdict> {
        let Asked { head, context } = asked;
        if head.outcome.is_some() {
            // Looked for even where nothing is read: no handler is to run whose outcome cannot be kept.
            let repeated = self.delivered.count > 1 || head.attempt > 0;
            let done = match repeated || self.shared.doubt.covers(self.delivered.sequence) {
                true => self.shared.done(head.id).await,
                false => self.shared.outcomes().await.map(|_| None),
            };
            match done {
                Ok(Some(response)) => {
                    tracing::debug!(id = %head.id, "done already");
                    self.shared.metrics.duplicates.increment(1);
                    self.answer(response).await;
                    return Err(Verdict::Done(head.object.clone()));
                }
                Ok(None) => {}
                Err(_) => return Err(self.again()),
            }
        }
        if self.delivered.count > self.shared.settings.max_deliveries {
            return Err(self.give_up(Some(asked), Reason::Deliveries).await);
        }
        if self.is_expired() {
            tracing::debug!(id = %head.id, "expired");
            self.shared.metrics.expired.increment(1);
            let response = Failure::new(FailureKind::Expired).to_response(context);
            return Err(self.conclude(asked, self.encode(&Answered::from(response), context)).await);
        }
        Ok(())
    }

    /// Whether more time has passed since the stream took it than it has.
    fn is_expired(&self) -> bool {
        let expiry = self.headers.get(header::EXPIRY).and_then(|value| value.as_str().parse().ok());
        expiry
            .and_then(|millis| self.delivered.stored().checked_add(Duration::from_millis(millis)))
            .is_some_and(|end| end <= SystemTime::now())
    }

    fn received(&self, head: &RequestHead) -> Received {
        Received {
            id: head.id,
            app: self.shared.consumer.app.clone(),
            peer: head.peer,
            scheme: head.scheme.clone(),
            deadline: self.shared.settings.handler_timeout.map(|timeout| Instant::now() + timeout),
            delivery: Delivery::Durable {
                count: self.delivered.count,
                first_received: self.delivered.stored(),
            },
        }
    }

    /// Runs the handler; gives the encoded answer.
    async fn handle<S, B>(
        &self,
        service: S,
        request: Request<Body>,
        context: &FailureContext,
        received: Instant,
        span: &Span,
    ) -> Result<Bytes, Failed>
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: http_body::Body,
        B::Error: Into<BoxError>,
    {
        let Shared { consumer, settings, .. } = self.shared.as_ref();
        let outcome = match settings.handler_timeout {
            None => Some(self.call(service, request).await),
            Some(limit) => timeout(limit, self.call(service, request)).await.ok(),
        };
        let (status, answer) = match outcome {
            Some(Ok(collected)) => {
                let status = collected.parts.status;
                let failed = settings.retry_server_errors && status.is_server_error();
                (
                    status,
                    if failed { Err(Failed::Status(status)) } else { Ok(self.encode(&collected, context)) },
                )
            }
            Some(Err(HandlerError::TooLarge)) => {
                let problem = too_large(self.shared.room());
                unsendable(&problem, &consumer.metrics);
                (StatusCode::BAD_GATEWAY, Ok(self.bad_answer(problem, context)))
            }
            Some(Err(error)) => {
                report(&error, &consumer.metrics);
                (StatusCode::INTERNAL_SERVER_ERROR, Err(Failed::from(error)))
            }
            None => (StatusCode::INTERNAL_SERVER_ERROR, Err(Failed::TimedOut)),
        };
        span.record("http.response.status_code", status.as_u16());
        consumer.metrics.handled(status, received.elapsed());
        match answer {
            Err(Failed::TimedOut) => consumer.metrics.failed(HandlerFailure::TimedOut),
            Err(Failed::Status(_)) => consumer.metrics.failed(HandlerFailure::Status),
            // Counted where it was reported.
            _ => {}
        }
        answer
    }

    /// Calls the service, and measures how long its first poll takes.
    async fn call<S, B>(&self, service: S, request: Request<Body>) -> Result<Answered, HandlerError>
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: http_body::Body,
        B::Error: Into<BoxError>,
    {
        let Shared { slots, consumer, .. } = self.shared.as_ref();
        // One waits for a slot only if more has come than was asked for.
        let slot = slots.try_slot().ok_or_else(|| slots.slot());
        let mut handler = pin!(Handler::new(service, request, slot, Extent::Whole(self.shared.room())));
        let mut in_flight = None;
        poll_fn(|cx| {
            let before = in_flight.is_none().then(Instant::now);
            let poll = handler.as_mut().poll(cx);
            if let Some(before) = before
                && handler.has_started()
            {
                slots.first_poll_took(before.elapsed());
                in_flight = Some(InFlight::new(&consumer.metrics.in_flight));
            }
            poll
        })
        .await
    }

    /// Keeps the outcome, answers, and is done.
    async fn conclude(&self, asked: &Asked, mut answer: Bytes) -> Verdict {
        let Asked { head, context } = asked;
        if let Some(outcome) = &head.outcome {
            match self.shared.keep(head.id, outcome, answer.clone()).await {
                Ok(()) => {}
                Err(Trouble::Temporary(_)) => return self.again(),
                Err(Trouble::Final(why)) => {
                    answer = self.bad_answer(why, context);
                    // What is as short as that fails for no reason of its own.
                    if self.shared.keep(head.id, outcome, answer.clone()).await.is_err() {
                        return self.again();
                    }
                }
            }
        }
        self.answer(answer).await;
        Verdict::Done(head.object.clone())
    }

    /// Moves the request to the stream of dead letters, and answers that it failed.
    async fn give_up(&self, asked: Option<&Asked>, reason: Reason) -> Verdict {
        let Shared { consumer, tasks, metrics, settings, .. } = self.shared.as_ref();
        let id = asked.map(|asked| asked.head.id);
        if self.is_done_elsewhere(asked).await {
            tracing::debug!(id = id.as_ref().map(ExchangeId::to_string), %reason, "done by another delivery");
            metrics.duplicates.increment(1);
            return Verdict::Done(None);
        }
        let copy = || async {
            let copied = bury(tasks, &consumer.app, id, self.payload.clone(), &self.delivered, &reason).await;
            if copied.is_err() {
                // Should it be missing, the next try finds it.
                let _ = tasks.declare_dead_letters().await;
            }
            copied.map_err(Trouble::Temporary)
        };
        // First of all: what has an outcome is never looked at again.
        if trying("moving a request to the dead letters", copy).await.is_err() {
            return Verdict::Again(*settings.redelivery_delay.end());
        }
        let id = id.as_ref().map(ExchangeId::to_string);
        tracing::warn!(id, deliveries = self.delivered.count, %reason, "a request is given up");
        metrics.dead_lettered(reason.label());
        let Some(Asked { head, context }) = asked else { return Verdict::Dead };
        let failure = Failure::new(FailureKind::HandlerFailed).to_response(context);
        let answer = self.encode(&Answered::from(failure), context);
        if let Some(outcome) = head.outcome.as_ref().filter(|outcome| self.is_ours(outcome)) {
            // The copy is made: what cannot be kept now is told to nobody who asks later.
            let _ = self.shared.keep(head.id, outcome, answer.clone()).await;
        }
        self.answer(answer).await;
        Verdict::Dead
    }

    /// Whether another delivery, to a consumer that was thought to be gone, has done the request meanwhile, as far as
    /// outcomes tell: what it answered is not to be taken back, and is answered again.
    async fn is_done_elsewhere(&self, asked: Option<&Asked>) -> bool {
        let kept = asked.map(|asked| &asked.head).filter(|head| head.outcome.is_some() && self.is_own(head));
        let Some(head) = kept else { return false };
        let Ok(Some(response)) = self.shared.done(head.id).await else { return false };
        self.answer(response).await;
        true
    }

    /// To be delivered once more, later each time.
    fn again(&self) -> Verdict {
        let (first, longest) = self.shared.settings.redelivery_delay.clone().into_inner();
        let doublings = u32::try_from(self.delivered.count.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        Verdict::Again(first.saturating_mul(factor).min(longest))
    }

    /// A RESPONSE that fits, with what the handler says or else with why it cannot be sent.
    fn encode(&self, response: &Answered, context: &FailureContext) -> Bytes {
        let consumer = &self.shared.consumer;
        encode(response, consumer, self.shared.room()).unwrap_or_else(|problem| {
            unsendable(&problem, &consumer.metrics);
            self.bad_answer(problem, context)
        })
    }

    fn bad_answer(&self, problem: String, context: &FailureContext) -> Bytes {
        let response = Failure::new(FailureKind::BadAnswer).with_detail(problem).to_response(context);
        encode(&Answered::from(response), &self.shared.consumer, usize::MAX).unwrap_or_default()
    }

    /// Answers the gateway, if one waits.
    async fn answer(&self, response: Bytes) {
        let Some(inbox) = self.headers.get(header::INBOX) else { return };
        let endpoint = &self.shared.consumer.endpoint;
        if !endpoint.replies().allows(inbox.as_str()) {
            return metrics::foreign_reply();
        }
        let answered = endpoint.link().client().publish(Subject::from(inbox.as_str()), response).await;
        if let Err(error) = answered {
            tracing::debug!(%error, "the answer was not sent");
        }
    }

    /// Acknowledges, and deletes the body once the server has confirmed that it will not deliver it again.
    async fn finish_with(&self, claim: &mut Claim, object: &ObjectRef) {
        let mut confirmation = self.shared.consumer.endpoint.register();
        claim.settle_confirmed(Ack::Done, Subject::from(confirmation.reply(0))).await;
        let word = timeout(CONFIRMATION, poll_fn(|cx| confirmation.mailbox().poll_take(cx))).await;
        // That nobody heard it, or that the connection broke, confirms nothing. Then another delivery may come, which
        // needs the body and deletes it.
        if let Ok(Mail::Frame { .. }) = word {
            Box::pin(self.shared.delete(object)).await;
        }
    }
}

/// Counts a request in a handler, until it is dropped.
struct InFlight<'a>(&'a ::metrics::Gauge);

impl<'a> InFlight<'a> {
    fn new(gauge: &'a ::metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
