//! How a durable request ends: with a stored outcome and a response, or as a dead letter.

use async_nats::Subject;
use bytes::Bytes;
use http::HeaderValue;
use narun_core::frame::{ObjectRef, OutcomeRef, RequestHead};
use narun_core::{ExchangeId, Failure, FailureContext, FailureKind};
use narun_nats::jetstream::{OutcomeState, header};

use super::dead_letter::{DeadLetterReason, may_be_dead_letter, publish_dead_letter};
use super::full::LateOutcome;
use super::request::{DeliveredRequest, RequestContext, Verdict};
use super::state::WorkerState;
use super::store::{StoreError, retry};
use crate::handler::HandlerResponse;
use crate::metrics::{self, NotStored};
use crate::response::{encode, unsendable};

impl DeliveredRequest {
    /// Stores the outcome if the request asks for that, and sends the response.
    pub(super) async fn conclude(&self, context: &RequestContext, mut response: Bytes) -> Verdict {
        let RequestContext { head, failure } = context;
        let mut late = None;
        if let Some(outcome) = &head.outcome {
            match self.store(head.id, outcome, &response, failure.request_id.as_ref()).await {
                Ok(stored) => late = stored,
                Err(StoreError::Permanent(why)) => {
                    self.state.consumer.failures.failed(
                        "the outcome cannot be stored: it becomes a 502",
                        Some(&why),
                        failure.request_id.as_ref(),
                    );
                    response = self.error_response(failure);
                    // So small a response is only rejected if the bucket is at fault.
                    match self.store(head.id, outcome, &response, failure.request_id.as_ref()).await {
                        Ok(stored) => late = stored,
                        Err(_) => return Verdict::Postponed,
                    }
                }
                Err(_) => return Verdict::Postponed,
            }
        }
        self.respond(response).await;
        Verdict::Done { object: head.object.clone(), late }
    }

    /// Stores the outcome. Returns it if there is no room, for a later attempt.
    async fn store(
        &self,
        id: ExchangeId,
        outcome: &OutcomeRef,
        response: &Bytes,
        request_id: Option<&HeaderValue>,
    ) -> Result<Option<Box<LateOutcome>>, StoreError> {
        match self.state.store_response(id, outcome, response.clone()).await {
            Ok(()) => Ok(None),
            Err(StoreError::Full(_)) => {
                let (outcome, response) = (outcome.clone(), response.clone());
                Ok(Some(Box::new(LateOutcome { id, outcome, response, request_id: request_id.cloned() })))
            }
            Err(error) => Err(error),
        }
    }

    /// The verdict on a request that this process has done before. If its outcome is pending again, as in an earlier copy of
    /// the server's storage, stores it again: the request does not run once more.
    pub(super) async fn concluded_before(
        &self,
        head: &RequestHead,
        request_id: Option<&HeaderValue>,
    ) -> Verdict {
        let outcome = head.outcome.as_ref().filter(|outcome| self.is_own_outcome(outcome));
        let Some(outcome) = outcome else {
            return Verdict::Done { object: head.object.clone(), late: None };
        };
        match self.state.done_outcome(head.id).await {
            Ok(Some(done)) => {
                return Verdict::Done { object: self.unneeded_body(head, &done), late: None };
            }
            Ok(None) => {}
            Err(_) => return Verdict::Postponed,
        }
        let response = self.state.deliveries.response(self.delivered.key());
        let stored = match response {
            // It may have been put back meanwhile, and wait for its next run.
            Some(response) if may_be_dead_letter(self.state.status(&response)) => {
                return Verdict::Done { object: None, late: None };
            }
            Some(response) => self.store(head.id, outcome, &response, request_id).await,
            None => self.state.store_not_kept(head.id, outcome).await.map(|()| None),
        };
        match stored {
            Ok(late) => Verdict::Done { object: head.object.clone(), late },
            Err(StoreError::Temporary(_)) => Verdict::Postponed,
            // What is done must not run again.
            Err(_) => Verdict::Done { object: head.object.clone(), late: None },
        }
    }

    /// Moves the request to the stream of dead letters, and responds with the failure.
    pub(super) async fn give_up(
        &self,
        context: Option<&RequestContext>,
        reason: DeadLetterReason,
    ) -> Verdict {
        let WorkerState { consumer, tasks, metrics, .. } = self.state.as_ref();
        let id = context.map(|context| context.head.id);
        let request_id = context.and_then(|context| context.failure.request_id.as_ref());
        match self.was_done_meanwhile(context).await {
            Ok(false) => {}
            Ok(true) => {
                tracing::debug!(id = id.as_ref().map(ExchangeId::to_string), %reason, "another delivery has done the request");
                metrics.duplicates.increment(1);
                return Verdict::Done { object: None, late: None };
            }
            // What has succeeded must not become a dead letter.
            Err(_) => return Verdict::Unburied(reason),
        }
        let publish = || async {
            let published =
                publish_dead_letter(tasks, &consumer.app, id, self.payload.clone(), &self.delivered, &reason)
                    .await
                    .map_err(StoreError::from);
            if let Err(StoreError::Temporary(_)) = published {
                // If the stream is missing, the next attempt finds it.
                let _ = tasks.declare_dead_letters().await;
            }
            published
        };
        // This comes first: a request with a stored outcome is not handled again.
        if let Err(error) =
            retry(&consumer.failures, "moving a request to the dead letters failed", publish).await
        {
            if let StoreError::Full(_) = error {
                self.state.storage_is_full(NotStored::DeadLetter, &error, request_id);
            }
            return Verdict::Unburied(reason);
        }
        consumer.failures.dead_lettered(id.as_ref(), request_id, self.delivered.count, &reason);
        metrics.dead_lettered(reason.label());
        let Some(RequestContext { head, failure }) = context else {
            return Verdict::DeadLetter { late: None };
        };
        let response = Failure::new(FailureKind::from(&reason)).to_response(failure);
        let response = self.encode(&HandlerResponse::from(response), failure);
        let late = match head.outcome.as_ref().filter(|outcome| self.is_own_outcome(outcome)) {
            // The dead letter is stored. If this fails, later requests with the same key do not get the outcome.
            Some(outcome) => {
                self.store(head.id, outcome, &response, failure.request_id.as_ref()).await.ok().flatten()
            }
            None => None,
        };
        self.respond(response).await;
        Verdict::DeadLetter { late }
    }

    /// Whether another delivery has done the request meanwhile, by its stored outcome. Sends that response again, as it
    /// must not be replaced by a failure.
    async fn was_done_meanwhile(&self, context: Option<&RequestContext>) -> Result<bool, StoreError> {
        let context =
            context.filter(|context| context.head.outcome.is_some() && self.has_own_buckets(&context.head));
        let Some(RequestContext { head, failure }) = context else { return Ok(false) };
        let Some(done) = self.state.done_outcome(head.id).await? else { return Ok(false) };
        self.respond(self.stored(done, failure)).await;
        Ok(true)
    }

    /// The body of a request with this outcome, if it can be deleted: a dead letter needs it.
    pub(super) fn unneeded_body(&self, head: &RequestHead, done: &OutcomeState) -> Option<Box<ObjectRef>> {
        let status = match done {
            OutcomeState::Done { response } => self.state.status(response),
            OutcomeState::NotKept { status } => *status,
            OutcomeState::Pending { .. } => 0,
        };
        head.object.clone().filter(|_| !may_be_dead_letter(status))
    }

    /// The response of a request that is done, as it was stored.
    pub(super) fn stored(&self, done: OutcomeState, context: &FailureContext) -> Bytes {
        let status = match done {
            OutcomeState::Done { response } => return response,
            OutcomeState::NotKept { status } => status,
            OutcomeState::Pending { .. } => 0,
        };
        let failure =
            Failure::new(FailureKind::ResponseNotKept).with_detail(format!("its status was {status}"));
        self.encode(&HandlerResponse::from(failure.to_response(context)), context)
    }

    /// Encodes a response, or a 502 if it cannot be sent.
    pub(super) fn encode(&self, response: &HandlerResponse, context: &FailureContext) -> Bytes {
        let consumer = &self.state.consumer;
        encode(response, consumer, self.state.room()).unwrap_or_else(|problem| {
            unsendable(&problem, consumer, context);
            self.error_response(context)
        })
    }

    /// Encodes a 502 in place of a response that cannot be sent. The reason is in the log.
    pub(super) fn error_response(&self, context: &FailureContext) -> Bytes {
        let response = Failure::new(FailureKind::BadResponse).to_response(context);
        encode(&HandlerResponse::from(response), &self.state.consumer, usize::MAX).unwrap_or_default()
    }

    /// Remembers the response, and sends it to the gateway that waits for it, if the request names an inbox.
    pub(super) async fn respond(&self, response: Bytes) {
        let endpoint = &self.state.consumer.endpoint;
        self.state.deliveries.responded(self.delivered.key(), response.clone(), endpoint.epoch());
        let Some(inbox) = self.headers.get(header::INBOX) else { return };
        if !endpoint.replies().allows(inbox.as_str()) {
            return metrics::foreign_reply();
        }
        let published = self.state.consumer.client.publish(Subject::from(inbox.as_str()), response).await;
        if let Err(error) = published {
            tracing::debug!(%error, "the response was not sent");
        }
    }
}
