//! Requests with an outcome record: those with an `Idempotency-Key`, and those that may get 202.

use std::time::Duration;

use http::Response;
use narun_core::frame::RequestHead;
use narun_core::{Body, Failure, FailureKind};
use narun_nats::jetstream::request_digest;
use tokio::time::{Instant, sleep, timeout_at};

use super::delivery::{DurableDelivery, DurableFailure, DurableInput, response};
use super::publish::Published;
use crate::idempotency::{Claim, IdempotencyRecord, failure, key_of};
use crate::prefer::Prefer;
use crate::status::{accepted, stored};

/// How often to check for a reconnect while a response is awaited.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Which responses the client of a request may get, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Whether it has an `Idempotency-Key`.
    keyed: bool,
    /// Whether it may get 202.
    may_defer: bool,
    /// Whether the client prefers 202.
    preferred: bool,
    /// Until when to wait for the response.
    wait: Instant,
    /// Until when to wait for anything.
    deadline: Instant,
}

impl Terms {
    /// The terms of this request. Returns `None` if it has no outcome record.
    ///
    /// # Errors
    ///
    /// [`FailureKind::BadIdempotencyKey`].
    pub(super) fn of(
        input: &DurableInput,
        always_async: bool,
        deadline: Instant,
    ) -> Result<Option<Self>, Failure> {
        let headers = &input.parts.headers;
        let keyed = key_of(headers)?.is_some();
        let prefer = Prefer::of(headers);
        let preferred = prefer.respond_async;
        let may_defer = preferred || always_async;
        let wait = if may_defer { Instant::now() + prefer.wait.unwrap_or_default() } else { deadline };
        let terms = Self { keyed, may_defer, preferred, wait: wait.min(deadline), deadline };
        Ok((keyed || may_defer).then_some(terms))
    }
}

impl DurableDelivery<'_> {
    /// Publishes the request once, with an outcome record.
    pub(super) async fn run_recorded(
        &self,
        input: DurableInput,
        terms: Terms,
    ) -> Result<Response<Body>, DurableFailure> {
        let record = timeout_at(terms.deadline, self.record(&input)).await;
        let record = record.map_err(|_| FailureKind::JetStreamUnavailable)??;
        let window = self.state.store().tasks().duplicate_window();
        let claim = match record.claim(window, terms.wait, terms.deadline).await {
            Err(failure) if failure.kind() == FailureKind::JetStreamUnavailable => {
                return Err(self.state.store().missed_by(failure, terms.deadline).await.into());
            }
            claim => claim?,
        };
        let (revision, attempt) = match claim {
            Claim::Publish { revision, attempt } => (revision, attempt),
            Claim::Done(response) => return Ok(stored(&response, self.state.endpoint().limits())?),
            Claim::Pending => return self.unfinished(&record, terms, FailureKind::InProgress),
        };
        let mut head = RequestHead::new(record.id());
        head.attempt = attempt;
        head.outcome = Some(Box::new(record.reference()));
        let awaits_response = terms.wait > Instant::now();
        let epoch = self.state.endpoint().epoch();
        let Published { mut call, duplicate } =
            match self.publish(head, input, awaits_response, terms.deadline).await {
                Ok(published) => published,
                Err(unpublished) => {
                    let id = record.id();
                    let location = unpublished.may_be_stored.then(|| self.state.status().location(&id));
                    // Another gateway may have published a request that was taken over from it.
                    if !unpublished.may_be_stored && attempt == 0 {
                        self.in_background(async move { record.forget(revision).await });
                    }
                    return Err(DurableFailure { failure: unpublished.failure, location });
                }
            };
        if terms.keyed {
            let record = record.clone();
            self.in_background(async move { record.mark_published(revision).await });
        }
        let late = if duplicate { FailureKind::InProgress } else { FailureKind::ResponseLate };
        if !awaits_response {
            // Even an elapsed timer would take a millisecond.
            return self.unfinished(&record, terms, late);
        }
        if !duplicate {
            let outcome = tokio::select! {
                biased;
                outcome = timeout_at(terms.wait, call.response()) => Some(outcome),
                () = self.reconnected_since(epoch) => None,
            };
            match outcome {
                Some(Ok(Ok(frame))) => return Ok(response(frame)),
                Some(Ok(Err(failure))) if failure.kind() != late => return Err(failure.into()),
                Some(Ok(Err(_)) | Err(_)) => return self.unfinished(&record, terms, late),
                None => {}
            }
        }
        // Another request gets the response, or it may have been lost with the connection.
        match record.outcome(terms.wait, terms.deadline).await? {
            Some(response) => Ok(stored(&response, self.state.endpoint().limits())?),
            None => self.unfinished(&record, terms, late),
        }
    }

    /// Completes when the connection is not the one of this epoch any more.
    async fn reconnected_since(&self, epoch: u64) {
        while self.state.endpoint().epoch() == epoch {
            sleep(CHECK_EVERY).await;
        }
    }

    async fn record(&self, input: &DurableInput) -> Result<IdempotencyRecord, Failure> {
        let DurableInput { id, parts, body, .. } = input;
        let store = self.state.store();
        let outcomes = store.outcomes().await?;
        let scope = self.state.scope(parts);
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        let digest = request_digest(&parts.method, target, &body.digest());
        let id = match key_of(&parts.headers)? {
            Some(key) => {
                let secret = outcomes.secret().await.map_err(|error| failure(&error))?;
                secret.id(store.tasks().namespace(), self.route.app(), scope.as_ref(), key)
            }
            None => *id,
        };
        Ok(IdempotencyRecord::new(outcomes, id, digest, scope))
    }

    /// The response while the request is not done: 202 if the client may get that, otherwise this failure.
    fn unfinished(
        &self,
        record: &IdempotencyRecord,
        terms: Terms,
        kind: FailureKind,
    ) -> Result<Response<Body>, DurableFailure> {
        let (id, paths) = (record.id(), self.state.status());
        if terms.may_defer {
            return Ok(accepted(paths, &id, terms.preferred));
        }
        let failure = Failure::new(kind).with_detail(format!("request {id}"));
        Err(DurableFailure { failure, location: Some(paths.location(&id)) })
    }

    /// Spawns a task that the end of the request does not abort.
    fn in_background(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.state.store().background().spawn(task);
    }
}
