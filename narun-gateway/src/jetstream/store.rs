//! Declares the stream and the buckets of durable requests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use narun_core::{Failure, FailureKind, Namespace};
use narun_nats::NatsClient;
use narun_nats::jetstream::{Backoff, BodyStore, DeclareError, OutcomeStore, StreamSettings, TaskStreams};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::background::Background;
use super::room::{BodyRoom, ReservedRoom};

/// How long one round of declaring may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The shortest pause between two rounds.
const PAUSE: Duration = Duration::from_millis(100);
/// The pauses after rounds that failed temporarily.
const BACKOFF: Backoff = Backoff::new(PAUSE, Duration::from_secs(5));
/// The pause after a round that failed for a reason that an operator must fix.
const FIXING: Duration = Duration::from_secs(30);
/// How long a request waits for the reason why its stream is missing.
const CHECK: Duration = Duration::from_secs(2);
/// How often to check whether the client is connected.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// The stream and the buckets of durable requests.
pub(crate) struct DurableStore {
    state: Arc<StoreState>,
    runtime: Handle,
    /// The task that declares them, and again if they were deleted. Spawned with the first durable route.
    declaring: std::sync::OnceLock<AbortHandle>,
    background: Arc<Background>,
}

struct StoreState {
    tasks: TaskStreams,
    client: Client,
    readiness: watch::Sender<Readiness>,
    /// Whether the last round found no leader. Changed at the end of each round, even if it stays the same.
    leaderless: watch::Sender<bool>,
    /// Notified when they have to be declared again.
    recheck: Notify,
    /// Whether a route needs the bucket of outcomes.
    needs_outcomes: AtomicBool,
    outcomes: OnceCell<OutcomeStore>,
    bodies: OnceCell<BodyStore>,
    room: Arc<BodyRoom>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Readiness {
    /// Not declared yet.
    Unknown,
    Ready,
    /// The stream cannot be used, for this reason.
    Broken(Arc<str>),
}

impl DurableStore {
    /// Declares nothing before [`need`](Self::need). Must be called within a tokio runtime.
    pub(crate) fn new(nats: &NatsClient, namespace: Namespace, settings: StreamSettings) -> Self {
        let (runtime, client) = (Handle::current(), nats.client().clone());
        let state = StoreState {
            tasks: TaskStreams::new(nats.clone(), namespace, settings),
            client,
            readiness: watch::Sender::new(Readiness::Unknown),
            leaderless: watch::Sender::new(false),
            recheck: Notify::new(),
            needs_outcomes: AtomicBool::new(false),
            outcomes: OnceCell::new(),
            bodies: OnceCell::new(),
            room: Arc::new(BodyRoom::new()),
        };
        let background = Arc::new(Background::new(runtime.clone()));
        Self { state: Arc::new(state), runtime, declaring: std::sync::OnceLock::new(), background }
    }

    /// Declares the stream, and the bucket of outcomes if needed, and keeps them declared. Without a connection, that happens
    /// in the background.
    ///
    /// # Errors
    ///
    /// Those that an operator must fix, and that JetStream cannot be reached within `limit`. After others, it is retried in
    /// the background.
    pub(crate) async fn declare(&self, outcomes: bool, limit: Duration) -> Result<(), DeclareError> {
        self.state.needs_outcomes.fetch_or(outcomes, Ordering::Relaxed);
        let (began, mut backoff) = (Instant::now(), BACKOFF);
        while self.state.is_connected() {
            match self.state.round().await {
                // It is turned off, or starts at the same time as this program.
                Err(DeclareError::NoJetStream { .. }) if began.elapsed() < limit => {
                    sleep(backoff.advance()).await;
                }
                Err(error @ (DeclareError::NoJetStream { .. } | DeclareError::NotPermitted { .. })) => {
                    return Err(error);
                }
                Err(error) if !error.is_temporary() => return Err(error),
                _ => break,
            }
        }
        self.need(outcomes);
        Ok(())
    }

    /// The same in the background.
    pub(crate) fn need(&self, outcomes: bool) {
        let more = outcomes && !self.state.needs_outcomes.fetch_or(true, Ordering::Relaxed);
        let mut begun = false;
        self.declaring.get_or_init(|| {
            begun = true;
            self.runtime.spawn(self.state.clone().keep()).abort_handle()
        });
        if more && !begun {
            self.state.recheck.notify_one();
        }
    }

    /// Checks and declares them again in the background, because something was missing.
    pub(crate) fn missed(&self) {
        self.state.recheck.notify_one();
    }

    /// The same, and returns the failure of a request that did not find the stream or a bucket: without a leader, nothing
    /// receives what is published to them, as if they were missing. Waits a while for the check.
    pub(crate) async fn missed_by(&self, failure: Failure, deadline: Instant) -> Failure {
        let mut rounds = self.state.leaderless.subscribe();
        self.missed();
        let _ = timeout_at(deadline.min(Instant::now() + CHECK), rounds.changed()).await;
        let is_leaderless = *rounds.borrow();
        if is_leaderless { FailureKind::NoLeader.into() } else { failure }
    }

    /// Waits until the stream is declared. Pending while it cannot be. Cancel safe.
    pub(crate) async fn declared(&self) {
        let mut readiness = self.state.readiness.subscribe();
        // The sender is in the state.
        let _ = readiness.wait_for(|state| *state == Readiness::Ready).await;
    }

    /// Waits until the stream is declared, which it nearly always is already.
    ///
    /// # Errors
    ///
    /// [`FailureKind::JetStreamUnavailable`] if it cannot be used, or is not declared until `deadline`.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<(), Failure> {
        let mut readiness = self.state.readiness.subscribe();
        let known = timeout_at(deadline, readiness.wait_for(|state| *state != Readiness::Unknown)).await;
        let why = match known {
            Ok(Ok(state)) => match &*state {
                Readiness::Broken(why) => why.to_string(),
                _ => return Ok(()),
            },
            _ => "the stream is not declared yet".to_owned(),
        };
        let kind = match *self.state.leaderless.borrow() {
            true => FailureKind::NoLeader,
            false => FailureKind::JetStreamUnavailable,
        };
        Err(Failure::new(kind).with_cause(why))
    }

    pub(crate) fn tasks(&self) -> &TaskStreams {
        &self.state.tasks
    }

    pub(crate) const fn background(&self) -> &Arc<Background> {
        &self.background
    }

    /// The bucket of outcomes. Declares it the first time.
    pub(crate) async fn outcomes(&self) -> Result<OutcomeStore, Failure> {
        let outcomes = self.state.outcomes.get_or_try_init(|| self.state.tasks.outcomes()).await;
        outcomes.cloned().map_err(|error| unavailable(&error))
    }

    /// The bucket of bodies. Declares it the first time.
    pub(crate) async fn bodies(&self) -> Result<BodyStore, Failure> {
        let bodies = self.state.bodies.get_or_try_init(|| self.state.tasks.bodies()).await;
        bodies.cloned().map_err(|error| unavailable(&error))
    }

    /// The bucket of bodies, for one of which no room is reserved yet.
    pub(crate) async fn room(&self) -> Result<(BodyStore, ReservedRoom), Failure> {
        let bodies = self.bodies().await?;
        Ok((bodies.clone(), ReservedRoom::new(self.state.room.clone(), bodies)))
    }
}

fn unavailable(error: &DeclareError) -> Failure {
    let kind = match error {
        DeclareError::NoLeader { .. } => FailureKind::NoLeader,
        DeclareError::NotPermitted { .. } => FailureKind::NotPermitted,
        _ => FailureKind::JetStreamUnavailable,
    };
    Failure::new(kind).with_cause(error.to_string())
}

impl StoreState {
    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Declares what is missing, and updates the readiness.
    async fn round(&self) -> Result<(), DeclareError> {
        let declared = match timeout(LIMIT, self.declare()).await {
            Ok(declared) => declared,
            Err(_) => Err(DeclareError::Unavailable {
                what: format!("stream {}", self.tasks.namespace().task_stream()),
                why: "no response in time".to_owned(),
            }),
        };
        self.leaderless.send_replace(matches!(declared, Err(DeclareError::NoLeader { .. })));
        let readiness = match &declared {
            Ok(()) => Readiness::Ready,
            // The stream was there, and may still be there: publishing will show.
            Err(error) if error.is_temporary() && *self.readiness.borrow() == Readiness::Ready => {
                tracing::debug!(%error, "the stream of durable requests cannot be checked");
                return declared;
            }
            Err(error) => Readiness::Broken(error.to_string().into()),
        };
        self.readiness.send_if_modified(|state| {
            let changed = *state != readiness;
            if changed {
                match &readiness {
                    Readiness::Broken(why) => tracing::error!(%why, "durable requests are refused"),
                    _ => tracing::debug!("durable requests are accepted"),
                }
                *state = readiness;
            }
            changed
        });
        declared
    }

    async fn declare(&self) -> Result<(), DeclareError> {
        self.tasks.declare_stream().await?;
        if self.outcomes.initialized() || self.needs_outcomes.load(Ordering::Relaxed) {
            let outcomes = self.tasks.outcomes().await?;
            // If it is set already, the handle is the same, even if the bucket is new.
            let _ = self.outcomes.set(outcomes);
            let _ = self.check_secret().await;
        }
        // It is declared when it is first needed, and here if it was deleted since.
        if self.bodies.initialized() {
            self.tasks.bodies().await?;
        }
        Ok(())
    }

    /// Stores the secret of idempotency keys again if it is due, once the bucket of outcomes is in use. Returns whether it is
    /// stored; if not, the next check tries again.
    async fn check_secret(&self) -> bool {
        let Some(outcomes) = self.outcomes.get() else { return true };
        let checked = outcomes.keep_secret().await;
        if let Err(error) = &checked {
            tracing::debug!(%error, "the secret of idempotency keys was not checked");
        }
        checked.is_ok()
    }

    /// Keeps the secret of idempotency keys, which must outlive the outcomes, whatever becomes of the stream.
    async fn keep_secret(&self) {
        loop {
            sleep(self.tasks.secret_check()).await;
            if self.is_connected() && !self.check_secret().await {
                // The bucket may be missing.
                self.recheck.notify_one();
            }
        }
    }

    /// Keeps stream, buckets and secret.
    async fn keep(self: Arc<Self>) {
        tokio::join!(self.keep_declared(), self.keep_secret(), self.tasks.undeleted().summarize());
    }

    /// Declares until that succeeds, and again at each notification.
    async fn keep_declared(&self) {
        let mut backoff = BACKOFF;
        if *self.readiness.borrow() == Readiness::Ready {
            self.recheck.notified().await;
        }
        loop {
            while !self.is_connected() {
                sleep(WATCH_EVERY).await;
            }
            match self.round().await {
                Ok(()) => {
                    backoff.reset();
                    self.recheck.notified().await;
                    // Many requests that miss it at once make one round.
                    sleep(PAUSE).await;
                }
                Err(error) if error.is_temporary() => sleep(backoff.advance()).await,
                Err(_) => {
                    // A new connection may lead to another server, and new routes may need other things.
                    let _ = timeout(FIXING, self.recheck.notified()).await;
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Drop for DurableStore {
    fn drop(&mut self) {
        if let Some(declaring) = self.declaring.get() {
            declaring.abort();
        }
    }
}

impl fmt::Debug for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableStore")
            .field("readiness", &*self.state.readiness.borrow())
            .finish_non_exhaustive()
    }
}
