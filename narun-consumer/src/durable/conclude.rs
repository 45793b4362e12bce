//! How a durable request ends: with a stored outcome and a response, or as a dead letter.

use async_nats::Subject;
use bytes::Bytes;
use narun_core::{ExchangeId, Failure, FailureContext, FailureKind};
use narun_nats::jetstream::header;

use super::dead_letter::{DeadLetterReason, publish_dead_letter};
use super::request::{DeliveredRequest, RequestContext, Verdict};
use super::state::WorkerState;
use super::store::{StoreError, retry};
use crate::handler::HandlerResponse;
use crate::metrics;
use crate::response::{encode, unsendable};

impl DeliveredRequest {
    /// Stores the outcome if the request asks for that, and sends the response.
    pub(super) async fn conclude(&self, context: &RequestContext, mut response: Bytes) -> Verdict {
        let RequestContext { head, failure } = context;
        if let Some(outcome) = &head.outcome {
            match self.state.store_response(head.id, outcome, response.clone()).await {
                Ok(()) => {}
                Err(StoreError::Temporary(_)) => return self.retry(),
                Err(StoreError::Permanent(why)) => {
                    tracing::error!(id = %head.id, why, "the outcome cannot be stored: it becomes a 502");
                    response = self.error_response(failure);
                    // So small a response is only rejected if the bucket is at fault.
                    if self.state.store_response(head.id, outcome, response.clone()).await.is_err() {
                        return self.retry();
                    }
                }
            }
        }
        self.respond(response).await;
        Verdict::Done(head.object.clone())
    }

    /// Moves the request to the stream of dead letters, and responds with the failure.
    pub(super) async fn give_up(
        &self,
        context: Option<&RequestContext>,
        reason: DeadLetterReason,
    ) -> Verdict {
        let WorkerState { consumer, tasks, metrics, settings, .. } = self.state.as_ref();
        let id = context.map(|context| context.head.id);
        if self.was_done_meanwhile(context).await {
            tracing::debug!(id = id.as_ref().map(ExchangeId::to_string), %reason, "another delivery has done the request");
            metrics.duplicates.increment(1);
            return Verdict::Done(None);
        }
        let publish = || async {
            let published =
                publish_dead_letter(tasks, &consumer.app, id, self.payload.clone(), &self.delivered, &reason)
                    .await;
            if published.is_err() {
                // If the stream is missing, the next attempt finds it.
                let _ = tasks.declare_dead_letters().await;
            }
            published.map_err(StoreError::Temporary)
        };
        // This comes first: a request with a stored outcome is not handled again.
        if retry("moving a request to the dead letters", publish).await.is_err() {
            return Verdict::Retry(*settings.redelivery_delay.end());
        }
        let id = id.as_ref().map(ExchangeId::to_string);
        tracing::warn!(id, deliveries = self.delivered.count, %reason, "the request is now a dead letter");
        metrics.dead_lettered(reason.label());
        let Some(RequestContext { head, failure }) = context else { return Verdict::DeadLetter };
        let response = Failure::new(FailureKind::from(&reason)).to_response(failure);
        let response = self.encode(&HandlerResponse::from(response), failure);
        if let Some(outcome) = head.outcome.as_ref().filter(|outcome| self.is_own_outcome(outcome)) {
            // The dead letter is stored. If this fails, later requests with the same key do not get the outcome.
            let _ = self.state.store_response(head.id, outcome, response.clone()).await;
        }
        self.respond(response).await;
        Verdict::DeadLetter
    }

    /// Whether another delivery has done the request meanwhile, by its stored outcome. Sends that response again, as it
    /// must not be replaced by a failure.
    async fn was_done_meanwhile(&self, context: Option<&RequestContext>) -> bool {
        let head = context
            .map(|context| &context.head)
            .filter(|head| head.outcome.is_some() && self.has_own_buckets(head));
        let Some(head) = head else { return false };
        let Ok(Some(response)) = self.state.stored_response(head.id).await else { return false };
        self.respond(response).await;
        true
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

    /// Sends the response to the gateway that waits for it, if the request names an inbox.
    pub(super) async fn respond(&self, response: Bytes) {
        let Some(inbox) = self.headers.get(header::INBOX) else { return };
        let endpoint = &self.state.consumer.endpoint;
        if !endpoint.replies().allows(inbox.as_str()) {
            return metrics::foreign_reply();
        }
        let published = self.state.consumer.client.publish(Subject::from(inbox.as_str()), response).await;
        if let Err(error) = published {
            tracing::debug!(%error, "the response was not sent");
        }
    }
}
