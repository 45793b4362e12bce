//! One delivery of a durable request, from its receipt to its acknowledgement.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use async_nats::Subject;
use http::{Request, Response};
use narun_core::frame::{DecodeError, ObjectRef, RequestFrame};
use narun_core::{Body, Failure, FailureContext, FailureKind};
use narun_nats::inbox::Mail;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;
use tracing::Instrument;

use super::acks::{Ack, Claim};
use super::dead::Reason;
use super::state::Shared;
use super::store::Trouble;
use super::work::{Asked, Verdict, Work};
use crate::error::BoxError;
use crate::handler::Answered;

/// How long the server may take to confirm an acknowledgement.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// A delivery to be worked on.
pub(super) struct Job {
    pub(super) claim: Claim,
    pub(super) work: Work,
    /// After what time without a word the server gives it to another consumer.
    pub(super) ack_wait: Duration,
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
