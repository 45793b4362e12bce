//! One delivery of a durable request, from its receipt to its ack.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use async_nats::Subject;
use http::{Request, Response};
use narun_core::fields::X_REQUEST_ID;
use narun_core::frame::{DecodeError, ObjectRef, RequestFrame};
use narun_core::{Body, Failure, FailureContext, FailureKind};
use narun_nats::inbox::Mail;
use tokio::time::{Instant, timeout};
use tower_service::Service;
use tracing::Instrument;

use super::acker::Acker;
use super::acks::AckKind;
use super::body::BodyFault;
use super::dead_letter::DeadLetterReason;
use super::full::LateOutcome;
use super::request::{DeliveredRequest, RequestContext, Verdict};
use super::state::WorkerState;
use crate::error::BoxError;
use crate::handler::HandlerResponse;

/// How long the server may take to confirm an ack.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// A delivery to be handled and acknowledged.
pub(super) struct Job {
    pub(super) acker: Acker,
    pub(super) request: DeliveredRequest,
}

impl Job {
    /// Handles the delivery and acknowledges it. If the future is dropped before that, the delivery is given back.
    pub(super) async fn run<S, B>(self, service: S)
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: http_body::Body,
        B::Error: Into<BoxError>,
    {
        let Self { mut acker, request } = self;
        let verdict = match acker.ended() {
            None => request.run(service).await,
            Some(ack) => Box::pin(request.ended(ack)).await,
        };
        match verdict {
            Verdict::Done { object: None, late: None } => acker.settle(AckKind::Ack).await,
            Verdict::Done { object, late } => request.finish(&mut acker, AckKind::Ack, object, late).await,
            Verdict::DeadLetter { late } => request.finish(&mut acker, AckKind::Term, None, late).await,
            Verdict::Retry(delay) => acker.settle(AckKind::Nak(delay)).await,
            Verdict::Postponed => acker.postpone(request.delay()).await,
            Verdict::Doubtful(reason) => acker.give_back(request.doubt(), reason).await,
            Verdict::Unburied(reason) => acker.give_back(request.delay(), reason).await,
        }
    }
}

impl DeliveredRequest {
    /// Handles the request, unless it must not be handled any more.
    async fn run<S, B>(&self, service: S) -> Verdict
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Into<BoxError>,
        B: http_body::Body,
        B::Error: Into<BoxError>,
    {
        let received = Instant::now();
        let WorkerState { consumer, metrics, .. } = self.state.as_ref();
        consumer.note_taken();
        if self.delivered.count > 1 {
            metrics.redelivered.increment(1);
        }
        let frame = match RequestFrame::decode(&self.payload, &consumer.endpoint.limits().stored()) {
            Ok(frame) if frame.head.end => frame,
            Ok(_) => {
                return self
                    .give_up(None, DeadLetterReason::Unreadable("its body is incomplete".to_owned()))
                    .await;
            }
            // A newer consumer may read it.
            Err(error @ DecodeError::Version(_)) if !self.is_last() => {
                tracing::debug!(delivery = self.delivered.count, %error, "the request is of a newer version: left for another consumer");
                return self.retry();
            }
            Err(error) => return self.give_up(None, DeadLetterReason::Unreadable(error.to_string())).await,
        };
        let failure = FailureContext::of_request(&frame.parts.method, &frame.parts.headers);
        let RequestFrame { head, parts, body, trailers } = frame;
        let context = RequestContext { head, failure };
        let span = (consumer.make_span)(&parts, &consumer.app);
        let work = pin!(async {
            if !self.has_own_buckets(&context.head) {
                return self.give_up(Some(&context), DeadLetterReason::Foreign).await;
            }
            if let Some(reason) = &self.earlier.dead {
                return self.give_up(Some(&context), reason.clone()).await;
            }
            if let Err(verdict) = self.check(&context).await {
                return verdict;
            }
            let (body, fault) = match &context.head.object {
                None => (Body::from(body).with_trailers(trailers), BodyFault::default()),
                Some(object) => match Box::pin(self.open_body(&context, object, trailers)).await {
                    Ok(opened) => opened,
                    Err(verdict) => return verdict,
                },
            };
            let mut request = Request::from_parts(parts, body);
            request.extensions_mut().insert(self.received(&context.head));
            let handled = self.handle(service, request, &context.failure, received, &span).await;
            if let Some(verdict) = self.verdict_on_body(&context, &fault).await {
                return verdict;
            }
            match handled {
                Ok(response) => self.conclude(&context, response).await,
                Err(failed) if self.is_last() => {
                    self.give_up(Some(&context), DeadLetterReason::Failed(failed)).await
                }
                Err(failed) => {
                    tracing::debug!(delivery = self.delivered.count, %failed, "a delivery failed");
                    self.retry()
                }
            }
        });
        work.instrument(span.clone()).await
    }

    /// Checks whether the request should be handled. Returns the verdict on it if not.
    async fn check(&self, context: &RequestContext) -> Result<(), Verdict> {
        let RequestContext { head, failure } = context;
        if head.outcome.is_some() {
            // The bucket is opened even if it is not read: a handler must not run if its outcome cannot be stored.
            let repeated = self.delivered.count > 1 || head.attempt > 0;
            let done = match repeated || self.state.uncertain.covers(self.delivered.sequence) {
                true => self.state.done_outcome(head.id).await,
                false => self.state.outcomes().await.map(|_| None),
            };
            match done {
                Ok(Some(done)) => {
                    tracing::debug!(id = %head.id, "the request has been done before");
                    self.state.metrics.duplicates.increment(1);
                    let object = self.unneeded_body(head, &done);
                    self.respond(self.stored(done, failure)).await;
                    return Err(Verdict::Done { object, late: None });
                }
                Ok(None) => {}
                Err(_) => return Err(Verdict::Postponed),
            }
        }
        if self.is_over_limit() {
            tracing::debug!(id = %head.id, delivery = self.delivered.count, "the request was delivered too often");
            let reason = DeadLetterReason::Deliveries(self.delivered.count);
            return Err(match self.is_beyond_doubt() {
                true => self.give_up(Some(context), reason).await,
                false => Verdict::Doubtful(reason),
            });
        }
        if self.is_expired() {
            tracing::debug!(id = %head.id, "the request has expired");
            self.state.metrics.expired.increment(1);
            let response = Failure::new(FailureKind::Expired).to_response(failure);
            return Err(self.conclude(context, self.encode(&HandlerResponse::from(response), failure)).await);
        }
        Ok(())
    }

    /// The verdict on a request that this process has ended, and that the server has delivered again all the same. Sends its
    /// response again if that may have been lost with the connection, like the ack.
    async fn ended(&self, ack: AckKind) -> Verdict {
        tracing::debug!(
            sequence = self.delivered.sequence,
            "a request that was ended here was delivered again"
        );
        self.state.metrics.redelivered.increment(1);
        let endpoint = &self.state.consumer.endpoint;
        let verdict = match (ack, RequestFrame::decode(&self.payload, &endpoint.limits().stored())) {
            (AckKind::Term, _) => Verdict::DeadLetter { late: None },
            // If the first ack was not confirmed, the body has not been deleted.
            (_, Ok(frame)) => {
                let request_id = frame.parts.headers.get(X_REQUEST_ID);
                self.concluded_before(&frame.head, request_id).await
            }
            (_, Err(_)) => Verdict::Done { object: None, late: None },
        };
        if let Some(response) = self.state.deliveries.lost_response(self.delivered.key(), endpoint.epoch()) {
            self.respond(response).await;
        }
        verdict
    }

    /// Acknowledges the delivery, and once the server has confirmed that, deletes the body and stores the outcome for
    /// which there was no room.
    async fn finish(
        &self,
        acker: &mut Acker,
        ack: AckKind,
        object: Option<Box<ObjectRef>>,
        late: Option<Box<LateOutcome>>,
    ) {
        let mut confirmation = self.state.consumer.endpoint.register();
        acker.settle_confirmed(ack, Subject::from(confirmation.reply(0))).await;
        let reply = timeout(CONFIRMATION, poll_fn(|cx| confirmation.mailbox().poll_take(cx))).await;
        // Without responders, or if the connection was lost, the ack is not confirmed. The request may be delivered
        // again and need its body, which is deleted after that delivery.
        if let (Ok(Mail::Frame { .. }), Some(object)) = (reply, object) {
            Box::pin(self.state.delete_body(&object)).await;
        }
        if let Some(late) = late {
            Box::pin(self.state.store_late(&late)).await;
        }
    }
}
