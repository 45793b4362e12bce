//! Requests whose outcome is kept: those with an `Idempotency-Key`, and those that are answered later.

use std::time::Duration;

use http::Response;
use narun_core::frame::RequestHead;
use narun_core::{Body, Failure, FailureKind};
use narun_nats::jetstream::{keyed_id, request_digest};
use tokio::time::{Instant, sleep, timeout_at};

use super::{DurableDelivery, DurableFailure, DurableInput, Published, response};
use crate::idempotency::{Claim, Record, key_of};
use crate::prefer::Prefer;
use crate::status::{accepted, stored};

/// Between two looks at whether the connection is still the same, while an answer is waited for.
const LOOK: Duration = Duration::from_secs(1);

/// What the client of a request is told, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Whether it has an `Idempotency-Key`.
    keyed: bool,
    /// Whether a 202 is an answer.
    later: bool,
    /// Whether the client itself prefers that.
    preferred: bool,
    /// Until when the response is waited for.
    wait: Instant,
    /// Until when anything is.
    deadline: Instant,
}

impl Terms {
    /// Those of this request; none if nothing is to be kept of it.
    ///
    /// # Errors
    ///
    /// [`FailureKind::BadIdempotencyKey`].
    pub(super) fn of(
        received: &DurableInput,
        always_later: bool,
        deadline: Instant,
    ) -> Result<Option<Self>, Failure> {
        let headers = &received.parts.headers;
        let keyed = key_of(headers)?.is_some();
        let prefer = Prefer::of(headers);
        let preferred = prefer.respond_async;
        let later = preferred || always_later;
        let wait = if later { Instant::now() + prefer.wait.unwrap_or_default() } else { deadline };
        let terms = Self { keyed, later, preferred, wait: wait.min(deadline), deadline };
        Ok((keyed || later).then_some(terms))
    }
}

impl DurableDelivery<'_> {
    /// Sees to it that the request is done once, and that its outcome can be read.
    pub(super) async fn run_kept(
        &self,
        received: DurableInput,
        terms: Terms,
    ) -> Result<Response<Body>, DurableFailure> {
        let record = timeout_at(terms.deadline, self.record(&received)).await;
        let record = record.map_err(|_| FailureKind::JetStreamUnavailable)??;
        let window = self.state.store().tasks().duplicate_window();
        let claim = record.claim(window, terms.wait, terms.deadline).await.inspect_err(|failure| {
            if failure.kind() == FailureKind::JetStreamUnavailable {
                self.state.store().missed();
            }
        })?;
        let (revision, attempt) = match claim {
            Claim::Publish { revision, attempt } => (revision, attempt),
            Claim::Done(response) => return Ok(stored(&response, self.state.endpoint().limits())?),
            Claim::Pending => return self.unfinished(&record, terms, FailureKind::InProgress),
        };
        let mut head = RequestHead::new(record.id());
        head.attempt = attempt;
        head.outcome = Some(Box::new(record.reference()));
        let answer = terms.wait > Instant::now();
        let epoch = self.state.endpoint().epoch();
        let Published { mut call, duplicate } =
            match self.publish(head, &received, answer, terms.deadline).await {
                Ok(published) => published,
                Err(unpublished) => {
                    let id = record.id();
                    let location = unpublished.may_be_stored.then(|| self.state.status().location(&id));
                    // What was taken over from another gateway may have been published by that.
                    if !unpublished.may_be_stored && attempt == 0 {
                        self.afterwards(async move { record.forget(revision).await });
                    }
                    return Err(DurableFailure { failure: unpublished.failure, location });
                }
            };
        drop(received);
        if terms.keyed {
            let record = record.clone();
            self.afterwards(async move { record.mark_published(revision).await });
        }
        let late = if duplicate { FailureKind::InProgress } else { FailureKind::AnsweredLate };
        if !answer {
            // A timer that is over already would still take its millisecond.
            return self.unfinished(&record, terms, late);
        }
        if !duplicate {
            let answer = tokio::select! {
                biased;
                answer = timeout_at(terms.wait, call.response()) => Some(answer),
                () = self.reconnected_since(epoch) => None,
            };
            match answer {
                Some(Ok(Ok(frame))) => return Ok(response(frame)),
                Some(Ok(Err(failure))) if failure.kind() != late => return Err(failure.into()),
                Some(Ok(Err(_)) | Err(_)) => return self.unfinished(&record, terms, late),
                None => {}
            }
        }
        // Somebody else published it, and gets the answer; or it may have been lost with the connection.
        match record.answer(terms.wait, terms.deadline).await? {
            Some(response) => Ok(stored(&response, self.state.endpoint().limits())?),
            None => self.unfinished(&record, terms, late),
        }
    }

    /// Completes once the connection is not the one that had this number.
    async fn reconnected_since(&self, epoch: u64) {
        while self.state.endpoint().epoch() == epoch {
            sleep(LOOK).await;
        }
    }

    async fn record(&self, received: &DurableInput) -> Result<Record, Failure> {
        let DurableInput { id, parts, body, .. } = received;
        let store = self.state.store();
        let outcomes = store.outcomes().await?;
        let scope = self.state.scope(parts);
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let digest = request_digest(&parts.method, target, body);
        let id = match key_of(&parts.headers)? {
            Some(key) => keyed_id(store.tasks().namespace(), self.route.app(), scope.as_ref(), key),
            None => *id,
        };
        Ok(Record::new(outcomes, id, digest, scope))
    }

    /// What is answered as long as the request is not done: 202 where that is an answer, otherwise this failure.
    fn unfinished(
        &self,
        record: &Record,
        terms: Terms,
        kind: FailureKind,
    ) -> Result<Response<Body>, DurableFailure> {
        let (id, paths) = (record.id(), self.state.status());
        if terms.later {
            return Ok(accepted(paths, &id, terms.preferred));
        }
        let failure = Failure::new(kind).with_detail(format!("request {id}"));
        Err(DurableFailure { failure, location: Some(paths.location(&id)) })
    }

    /// What no client waits for, and must not end with its request.
    fn afterwards(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.state.store().chores().spawn(task);
    }
}
