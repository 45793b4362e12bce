//! How a durable request ends: its outcome kept, its gateway answered, or a dead letter.

use async_nats::Subject;
use bytes::Bytes;
use narun_core::{ExchangeId, Failure, FailureContext, FailureKind};
use narun_nats::jetstream::header;

use super::dead::{Reason, bury};
use super::state::Shared;
use super::store::{Trouble, trying};
use super::work::{Asked, Verdict, Work};
use crate::handler::Answered;
use crate::metrics;
use crate::response::{encode, unsendable};

impl Work {
    /// Keeps the outcome, answers, and is done.
    pub(super) async fn conclude(&self, asked: &Asked, mut answer: Bytes) -> Verdict {
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
    pub(super) async fn give_up(&self, asked: Option<&Asked>, reason: Reason) -> Verdict {
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

    /// A RESPONSE that fits, with what the handler says or else with why it cannot be sent.
    pub(super) fn encode(&self, response: &Answered, context: &FailureContext) -> Bytes {
        let consumer = &self.shared.consumer;
        encode(response, consumer, self.shared.room()).unwrap_or_else(|problem| {
            unsendable(&problem, &consumer.metrics);
            self.bad_answer(problem, context)
        })
    }

    pub(super) fn bad_answer(&self, problem: String, context: &FailureContext) -> Bytes {
        let response = Failure::new(FailureKind::BadAnswer).with_detail(problem).to_response(context);
        encode(&Answered::from(response), &self.shared.consumer, usize::MAX).unwrap_or_default()
    }

    /// Answers the gateway, if one waits.
    pub(super) async fn answer(&self, response: Bytes) {
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
}
