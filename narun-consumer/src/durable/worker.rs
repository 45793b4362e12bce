//! The task that takes messages out of the stream, no more than there are slots for.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use async_nats::Message;
use futures::future::{BoxFuture, FutureExt};
use http::{Request, Response};
use narun_core::Body;
use narun_nats::Link;
use narun_nats::jetstream::{Backoff, DeclareError, retry};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tower_service::Service;

use super::job::Job;
use super::lanes::Lanes;
use super::pull::{Incoming, Pulls};
use super::state::Shared;
use super::work::Work;
use crate::error::{BoxError, ServeError};
use crate::metrics;

/// Between two looks at what happens without a message.
const TICK: Duration = Duration::from_millis(100);

/// How often the server is asked how many requests wait.
const CENSUS: Duration = Duration::from_secs(10);

/// How long a declaration may take while requests are served, at least.
const PATIENCE: Duration = Duration::from_secs(1);

/// Pauses that grow, as long as nothing works.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// What the worker tells, and is told.
pub(crate) struct Control {
    /// Told once requests are being asked for.
    pub(crate) ready: oneshot::Sender<()>,
    /// Tells that no more are to be asked for.
    pub(crate) stop: oneshot::Receiver<()>,
    /// Told once none comes any more, and what is left are handlers.
    pub(crate) left: oneshot::Sender<()>,
}

/// Serves durable requests until it is told to stop and all handlers are through.
///
/// Dropped, it gives back everything that it has.
pub(crate) async fn work<S, B>(
    service: S,
    shared: Arc<Shared>,
    mut control: Control,
) -> Result<(), ServeError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let stream = shared.tasks.namespace().task_stream();
    let lanes = Lanes::open(&shared.consumer.endpoint, stream, shared.consumer.app.as_str())
        .await
        .map_err(|_| ServeError::ClientLost)?;
    let ack_wait = tokio::select! {
        declared = declared(&shared) => declared?,
        _ = &mut control.stop => return Ok(()),
    };
    let mut census = JoinSet::new();
    census.spawn(count_pending(shared.clone()));
    census.spawn({
        let shared = shared.clone();
        async move { shared.doubt.resolve(&shared.tasks).await }
    });
    shared.doubt.begin();
    let mut worker = Worker {
        pulls: Pulls::new(shared.concurrency),
        epoch: shared.consumer.endpoint.link().epoch(),
        lanes,
        jobs: JoinSet::new(),
        backoff: BACKOFF,
        declaring: None,
        ack_wait,
        service,
        shared,
    };
    worker.ask();
    let _ = control.ready.send(());
    worker.serve(&mut control.stop).await?;
    let Worker { lanes, mut jobs, .. } = worker;
    lanes.leave().await;
    let _ = control.left.send(());
    while jobs.join_next().await.is_some() {}
    Ok(())
}

/// Declares everything, as soon as it can be done; gives the ack wait in force.
async fn declared(shared: &Shared) -> Result<Duration, DeclareError> {
    let mut warned = false;
    let is_temporary = |error: &DeclareError| {
        if error.is_temporary() && !std::mem::replace(&mut warned, true) {
            tracing::warn!(%error, "durable requests are not served yet");
        }
        error.is_temporary()
    };
    retry(BACKOFF, None, is_temporary, || declare(shared)).await
}

async fn declare(shared: &Shared) -> Result<Duration, DeclareError> {
    let tasks = &shared.tasks;
    tasks.declare_stream().await?;
    tasks.declare_dead_letters().await?;
    tasks.declare_consumer(&shared.consumer.app, shared.settings.ack_wait).await
}

/// Keeps the gauge of waiting requests.
async fn count_pending(shared: Arc<Shared>) {
    let mut ticks = interval(CENSUS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let stream = shared.tasks.context().get_stream_no_info(shared.tasks.namespace().task_stream()).await;
        let Ok(stream) = stream else { continue };
        match stream.consumer_info(shared.consumer.app.as_str()).await {
            Ok(info) => shared.metrics.pending.set(info.num_pending as f64),
            Err(error) => tracing::debug!(%error, "it is not known how many requests wait"),
        }
    }
}

struct Worker<S> {
    service: S,
    shared: Arc<Shared>,
    lanes: Lanes,
    pulls: Pulls,
    /// The connection on which pulls are under way.
    epoch: u64,
    jobs: JoinSet<()>,
    backoff: Backoff,
    /// Under way while the stream or its consumer is missing.
    declaring: Option<BoxFuture<'static, Result<Duration, DeclareError>>>,
    ack_wait: Duration,
}

impl<S, B> Worker<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Works until `stop` is told; an error is that the client is dead.
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
                    self.take(lane, message);
                }
                declared = async { match &mut self.declaring {
                    Some(declaring) => declaring.await,
                    None => std::future::pending().await,
                } } => self.declared(declared),
                _ = ticks.tick() => self.look(),
            }
            self.ask();
        }
    }

    /// Asks for more, if there is room and nothing speaks against it.
    fn ask(&mut self) {
        self.notice_connection();
        while self.declaring.is_none() && self.backoff.is_over() && self.shared.is_connected() {
            let Some(asked) = self.pulls.ask(self.jobs.len(), Instant::now()) else { return };
            if !self.lanes.ask(&asked) {
                return self.pulls.forget(asked.lane);
            }
        }
    }

    fn take(&mut self, lane: usize, message: Message) {
        match self.pulls.take(lane, &message, Instant::now()) {
            Incoming::Task => {
                self.backoff.reset();
                self.start(message);
            }
            Incoming::Alive => self.backoff.reset(),
            Incoming::Nothing => {}
            Incoming::Disturbed => {
                tracing::debug!(status = message.description.as_deref(), "a pull was turned away");
                self.shared.doubt.begin();
                self.backoff.advance();
            }
            Incoming::Missing if self.declaring.is_none() => self.declare_again(),
            Incoming::Missing => {}
        }
    }

    /// Starts with a message, and perhaps ends with it too.
    fn start(&mut self, message: Message) {
        let Some((delivered, claim)) = self.lanes.read(&message) else { return metrics::foreign_reply() };
        let work = Work::new(self.shared.clone(), delivered, message);
        let mut job = Box::pin(Job { claim, work, ack_wait: self.ack_wait }.run(self.service.clone()));
        // No wake-up is lost: a spawned task polls everything again at once.
        let mut cx = Context::from_waker(Waker::noop());
        if self.shared.slots.is_prompt() && job.as_mut().poll(&mut cx).is_ready() {
            return;
        }
        self.jobs.spawn(job);
    }

    /// The stream or its consumer is gone, or nobody leads it at the moment.
    fn declare_again(&mut self) {
        if self.backoff.is_reset() {
            tracing::warn!("the stream's consumer is missing, and is declared again");
        }
        let (pause, shared) = (self.backoff.advance(), self.shared.clone());
        let declaring = async move {
            sleep(pause).await;
            // A question that got lost on the way is not to be waited for as long as the client would.
            match timeout(PATIENCE + pause * 2, declare(&shared)).await {
                Ok(declared) => declared,
                Err(_) => Err(DeclareError::Unavailable {
                    what: "JetStream".to_owned(),
                    why: "no answer".to_owned(),
                }),
            }
        };
        self.declaring = Some(declaring.boxed());
    }

    fn declared(&mut self, declared: Result<Duration, DeclareError>) {
        self.declaring = None;
        match declared {
            Ok(ack_wait) => self.ack_wait = ack_wait,
            Err(error) => {
                tracing::debug!(%error, "the stream's consumer is still missing");
                self.declare_again();
            }
        }
    }

    /// Notices what no message tells.
    fn look(&mut self) {
        self.notice_connection();
        self.pulls.expire(Instant::now());
    }

    /// A new connection knows nothing of what was asked for on the one before, and its server perhaps nothing of what
    /// that delivered.
    fn notice_connection(&mut self) {
        let epoch = self.shared.consumer.endpoint.link().epoch();
        if epoch != self.epoch {
            self.epoch = epoch;
            self.pulls.reset();
            self.shared.doubt.begin();
        }
    }
}
