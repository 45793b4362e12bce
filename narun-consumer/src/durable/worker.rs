//! The task that pulls messages from the stream and starts a job for each of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Message;
use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use narun_core::Body;
use narun_nats::NatsClient;
use narun_nats::jetstream::{Backoff, DeclareError, retry};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout};
use tower_service::Service;

use super::acker::Acker;
use super::job::Job;
use super::lanes::Lanes;
use super::progress::send_progress;
use super::pull::{Pulled, Pulls};
use super::request::DeliveredRequest;
use super::state::WorkerState;
use crate::error::{BoxError, ServeError};
use crate::metrics;

/// The interval of the checks that no message triggers.
const TICK: Duration = Duration::from_millis(100);

/// The interval at which the number of waiting requests is read.
const PENDING_EVERY: Duration = Duration::from_secs(10);

/// The interval at which bodies are looked for that nothing refers to.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// How long such a body has not changed. In a configuration, the longest pause of a client, and the longest wait for the
/// stream, is a day.
const ABANDONED: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// The shortest time limit of a declaration while requests are served.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pauses after failures.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// The signals between the worker and the consumer.
pub(crate) struct Control {
    /// Sent once messages are pulled.
    pub(crate) pulling: oneshot::Sender<()>,
    /// Received when the worker must stop pulling.
    pub(crate) stop: oneshot::Receiver<()>,
    /// Sent once no more messages can arrive, while handlers may still run.
    pub(crate) left: oneshot::Sender<()>,
    /// How long JetStream may be unavailable at the start, with a connection.
    pub(crate) start_timeout: Duration,
}

/// Serves durable requests until it is stopped, and waits for their handlers.
///
/// When the future is dropped, all requests that are not done are given back.
pub(crate) async fn work<S, B>(
    service: S,
    nats: NatsClient,
    state: Arc<WorkerState>,
    mut control: Control,
) -> Result<(), ServeError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let lanes = Lanes::open(&nats, state.clone()).await.map_err(|_| ServeError::ClientLost)?;
    tokio::select! {
        declared = declare_with_retry(&state, control.start_timeout) => state.set_ack_wait(declared?),
        _ = &mut control.stop => return Ok(()),
    };
    let mut background = JoinSet::new();
    background.spawn(count_pending(state.clone()));
    background.spawn(send_progress(state.clone()));
    background.spawn(keep_secret(state.clone()));
    background.spawn(sweep_bodies(state.clone()));
    background.spawn({
        let state = state.clone();
        async move { state.tasks.undeleted().summarize().await }
    });
    background.spawn({
        let state = state.clone();
        async move { state.uncertain.resolve(&state.tasks).await }
    });
    state.uncertain.reset();
    let mut worker = Worker {
        pulls: Pulls::new(state.concurrency),
        epoch: state.consumer.endpoint.epoch(),
        lanes,
        jobs: JoinSet::new(),
        backoff: BACKOFF,
        declaring: None,
        service,
        state,
    };
    worker.pull();
    let _ = control.pulling.send(());
    worker.serve(&mut control.stop).await?;
    let Worker { lanes, mut jobs, .. } = worker;
    lanes.leave().await;
    let _ = control.left.send(());
    while jobs.join_next().await.is_some() {}
    Ok(())
}

/// Declares streams and consumer, and retries temporary errors. Returns the ack wait of the consumer.
///
/// A temporary error is returned as well if it has lasted for `limit` with a connection, unless a request has arrived: the
/// end of the consumer would drop its handler.
async fn declare_with_retry(state: &WorkerState, limit: Duration) -> Result<Duration, DeclareError> {
    let (mut warned, mut began) = (false, Instant::now());
    let is_temporary = |error: &DeclareError| {
        if !error.is_temporary() {
            return false;
        }
        if !std::mem::replace(&mut warned, true) {
            tracing::warn!(%error, "durable requests are not served yet: retrying");
        }
        if !state.is_connected() {
            began = Instant::now();
        }
        began.elapsed() < limit || state.consumer.has_taken.load(Ordering::Relaxed)
    };
    retry(BACKOFF, None, is_temporary, || declare(state)).await
}

async fn declare(state: &WorkerState) -> Result<Duration, DeclareError> {
    let tasks = &state.tasks;
    tasks.declare_stream().await?;
    tasks.declare_dead_letters().await?;
    tasks.declare_consumer(&state.consumer.app, state.settings.ack_wait).await
}

/// Updates the gauge of waiting requests.
async fn count_pending(state: Arc<WorkerState>) {
    let mut ticks = interval(PENDING_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let stream = state.tasks.context().get_stream_no_info(state.tasks.namespace().task_stream()).await;
        let Ok(stream) = stream else { continue };
        match stream.consumer_info(state.consumer.app.as_str()).await {
            Ok(info) => state.metrics.pending.set(info.num_pending as f64),
            Err(error) => tracing::debug!(%error, "the number of waiting requests is unknown"),
        }
    }
}

/// Keeps the secret of idempotency keys while outcomes are stored, as there may be no gateway.
async fn keep_secret(state: Arc<WorkerState>) {
    let mut ticks = interval(state.tasks.secret_check());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(outcomes) = state.outcomes.get() else { continue };
        if let Err(error) = outcomes.keep_secret().await {
            tracing::debug!(%error, "the secret of idempotency keys was not checked");
        }
    }
}

/// Deletes bodies that processes have left behind when they died. Not at the start, as an administrator may still be putting
/// back the requests that refer to them.
async fn sweep_bodies(state: Arc<WorkerState>) {
    let mut ticks = interval_at(Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match state.tasks.sweep_bodies(ABANDONED).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "deleted bodies that no request refers to"),
            Err(error) => tracing::debug!(%error, "abandoned bodies were not looked for"),
        }
    }
}

struct Worker<S> {
    service: S,
    state: Arc<WorkerState>,
    lanes: Lanes,
    pulls: Pulls,
    /// The connection on which the pulls were sent.
    epoch: u64,
    jobs: JoinSet<()>,
    backoff: Backoff,
    /// In progress while the stream or its consumer is missing.
    declaring: Option<BoxFuture<'static, Result<Duration, DeclareError>>>,
}

impl<S, B> Worker<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Serves until `stop` is received. Returns an error if the client has stopped.
    async fn serve(&mut self, stop: &mut oneshot::Receiver<()>) -> Result<(), ServeError> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = &mut *stop => return Ok(()),
                Some(_) = self.jobs.join_next(), if !self.jobs.is_empty() => {}
                next = self.lanes.next() => {
                    let Some((lane, message)) = next else { return Err(ServeError::ClientLost) };
                    self.receive(lane, message);
                }
                declared = async { match &mut self.declaring {
                    Some(declaring) => declaring.await,
                    None => std::future::pending().await,
                } } => self.declared(declared),
                _ = ticks.tick() => self.tick(),
            }
            self.pull();
        }
    }

    /// Sends pulls for the free slots, unless the worker is waiting, declaring or disconnected.
    fn pull(&mut self) {
        self.notice_reconnect();
        while self.declaring.is_none() && self.backoff.is_over() && self.state.is_connected() {
            let Some(pull) = self.pulls.next(self.jobs.len(), Instant::now()) else { return };
            if !self.lanes.send(&pull) {
                return self.pulls.cancel(pull.lane);
            }
        }
    }

    fn receive(&mut self, lane: usize, message: Message) {
        match self.pulls.receive(lane, &message, Instant::now()) {
            Pulled::Request => {
                self.backoff.reset();
                self.start(message);
            }
            Pulled::Alive => self.backoff.reset(),
            Pulled::Stale => {}
            Pulled::Failed => {
                tracing::debug!(status = message.description.as_deref(), "a pull failed");
                self.state.uncertain.reset();
                self.backoff.advance();
            }
            Pulled::Missing if self.declaring.is_none() => self.declare_again(),
            Pulled::Missing => {}
        }
    }

    /// Starts the job of a message, unless it runs already. It is never polled here: a handler that blocks must not delay
    /// the messages that follow.
    fn start(&mut self, message: Message) {
        let Some((delivered, subject)) = self.lanes.read(&message) else { return metrics::foreign_reply() };
        let Some((acker, earlier)) = Acker::enter(&self.state, &delivered, subject) else {
            tracing::debug!(sequence = delivered.sequence, "a running request was delivered again");
            return self.state.metrics.redelivered.increment(1);
        };
        let request = DeliveredRequest::new(self.state.clone(), delivered, earlier, message);
        self.jobs.spawn(Job { acker, request }.run(self.service.clone()));
    }

    /// Declares the stream and its consumer again: they are missing, or have no leader.
    fn declare_again(&mut self) {
        if self.backoff.is_reset() {
            let app = self.state.consumer.app.as_str();
            tracing::warn!(app, "the consumer of the stream is missing: declaring it again");
        }
        let (pause, state) = (self.backoff.advance(), self.state.clone());
        let declaring = async move {
            sleep(pause).await;
            // A lost request must not be waited for as long as the client's own timeout.
            match timeout(PATIENCE + pause * 2, declare(&state)).await {
                Ok(declared) => declared,
                Err(_) => Err(DeclareError::Unavailable {
                    what: "JetStream".to_owned(),
                    why: "the request timed out".to_owned(),
                }),
            }
        };
        self.declaring = Some(declaring.boxed());
    }

    fn declared(&mut self, declared: Result<Duration, DeclareError>) {
        self.declaring = None;
        match declared {
            Ok(ack_wait) => self.state.set_ack_wait(ack_wait),
            Err(error) => {
                tracing::debug!(%error, "the consumer of the stream is still missing");
                self.declare_again();
            }
        }
    }

    /// Checks for reconnects and lost pulls.
    fn tick(&mut self) {
        self.notice_reconnect();
        self.pulls.expire(Instant::now());
    }

    /// After a reconnect, the server has no pulls of this consumer any more, and may have forgotten deliveries.
    fn notice_reconnect(&mut self) {
        let epoch = self.state.consumer.endpoint.epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            self.pulls.reset();
            self.state.uncertain.reset();
        }
    }
}
