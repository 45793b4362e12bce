//! What durable routes need in JetStream: the stream and the buckets, declared where they are missing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use narun_core::{Failure, FailureKind, Namespace};
use narun_nats::jetstream::{Backoff, BodyStore, DeclareError, OutcomeStore, StreamSettings, TaskStreams};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OnceCell, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::chores::Chores;

/// How long one round of declaring may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The shortest pause between two rounds.
const PAUSE: Duration = Duration::from_millis(100);
/// The pauses after rounds that failed for reasons that pass.
const BACKOFF: Backoff = Backoff::new(PAUSE, Duration::from_secs(5));
/// The pause after a round that failed for a reason that people must see to.
const MENDING: Duration = Duration::from_secs(30);
/// How often the client's state is looked at: it tells nobody by itself.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// What durable routes need in JetStream.
pub(crate) struct Store {
    inner: Arc<Inner>,
    runtime: Handle,
    /// The task that declares, and declares again what was deleted; begun with the first durable route.
    declaring: std::sync::OnceLock<AbortHandle>,
    /// Work on bodies that no request waits for.
    chores: Arc<Chores>,
}

struct Inner {
    tasks: TaskStreams,
    client: Client,
    readiness: watch::Sender<Readiness>,
    /// Something has changed: have another look.
    look: Notify,
    /// Whether a route needs the bucket of outcomes.
    wants_outcomes: AtomicBool,
    outcomes: OnceCell<OutcomeStore>,
    bodies: OnceCell<BodyStore>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Readiness {
    /// Not known yet.
    Unknown,
    Ready,
    /// Why not.
    Broken(Arc<str>),
}

impl Store {
    /// Nothing is done before [`Store::need`]. Must be called within a tokio runtime.
    pub(crate) fn new(client: Client, namespace: Namespace, settings: StreamSettings) -> Self {
        let runtime = Handle::current();
        let inner = Inner {
            tasks: TaskStreams::new(client.clone(), namespace, settings),
            client,
            readiness: watch::Sender::new(Readiness::Unknown),
            look: Notify::new(),
            wants_outcomes: AtomicBool::new(false),
            outcomes: OnceCell::new(),
            bodies: OnceCell::new(),
        };
        let chores = Arc::new(Chores::new(runtime.clone()));
        Self { inner: Arc::new(inner), runtime, declaring: std::sync::OnceLock::new(), chores }
    }

    /// Declares what is needed before the first request, if there is a connection, and keeps it declared.
    ///
    /// # Errors
    ///
    /// Those that people have to see to; others are retried in the background.
    pub(crate) async fn declare(&self, outcomes: bool) -> Result<(), DeclareError> {
        self.inner.wants_outcomes.fetch_or(outcomes, Ordering::Relaxed);
        if self.inner.is_connected() {
            match self.inner.round().await {
                Err(error) if !error.is_temporary() => return Err(error),
                _ => {}
            }
        }
        self.need(outcomes);
        Ok(())
    }

    /// The same, all in the background.
    pub(crate) fn need(&self, outcomes: bool) {
        let more = outcomes && !self.inner.wants_outcomes.fetch_or(true, Ordering::Relaxed);
        let mut begun = false;
        self.declaring.get_or_init(|| {
            begun = true;
            self.runtime.spawn(self.inner.clone().keep_declared()).abort_handle()
        });
        if more && !begun {
            self.inner.look.notify_one();
        }
    }

    /// The stream or a bucket was not where it should be: it is looked after in the background.
    pub(crate) fn missed(&self) {
        self.inner.look.notify_one();
    }

    /// Waits until it is known that the stream is there; at once in nearly all cases.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<(), Failure> {
        let mut readiness = self.inner.readiness.subscribe();
        let known = timeout_at(deadline, readiness.wait_for(|state| *state != Readiness::Unknown)).await;
        let why = match known {
            Ok(Ok(state)) => match &*state {
                Readiness::Broken(why) => why.to_string(),
                _ => return Ok(()),
            },
            _ => "the stream is not declared yet".to_owned(),
        };
        Err(Failure::new(FailureKind::JetStreamUnavailable).with_detail(why))
    }

    pub(crate) fn tasks(&self) -> &TaskStreams {
        &self.inner.tasks
    }

    pub(crate) const fn chores(&self) -> &Arc<Chores> {
        &self.chores
    }

    /// The bucket of outcomes, declared when it is first needed.
    pub(crate) async fn outcomes(&self) -> Result<OutcomeStore, Failure> {
        let outcomes = self.inner.outcomes.get_or_try_init(|| self.inner.tasks.outcomes()).await;
        outcomes.cloned().map_err(|error| unavailable(&error))
    }

    /// The bucket of bodies, declared when it is first needed.
    pub(crate) async fn bodies(&self) -> Result<BodyStore, Failure> {
        let bodies = self.inner.bodies.get_or_try_init(|| self.inner.tasks.bodies()).await;
        bodies.cloned().map_err(|error| unavailable(&error))
    }
}

fn unavailable(error: &DeclareError) -> Failure {
    Failure::new(FailureKind::JetStreamUnavailable).with_detail(error.to_string())
}

impl Inner {
    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Declares what is missing, and publishes how that went.
    async fn round(&self) -> Result<(), DeclareError> {
        let declared = match timeout(LIMIT, self.declare()).await {
            Ok(declared) => declared,
            Err(_) => Err(DeclareError::Unavailable {
                what: format!("stream {}", self.tasks.namespace().task_stream()),
                why: "no answer in time".to_owned(),
            }),
        };
        let readiness = match &declared {
            Ok(()) => Readiness::Ready,
            // What has been there may well be there; publishing tells more than asking.
            Err(error) if error.is_temporary() && *self.readiness.borrow() == Readiness::Ready => {
                tracing::debug!(%error, "durable delivery cannot be looked after");
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
        if self.outcomes.initialized() || self.wants_outcomes.load(Ordering::Relaxed) {
            let outcomes = self.tasks.outcomes().await?;
            // It is the same as before, if it was not the first: only the bucket may be a new one.
            let _ = self.outcomes.set(outcomes);
        }
        // Declared when it is first needed, and again when it is missed.
        if self.bodies.initialized() {
            self.tasks.bodies().await?;
        }
        Ok(())
    }

    /// Declares until that succeeds, and again whenever somebody has missed something.
    async fn keep_declared(self: Arc<Self>) {
        let mut backoff = BACKOFF;
        if *self.readiness.borrow() == Readiness::Ready {
            self.look.notified().await;
        }
        loop {
            while !self.is_connected() {
                sleep(WATCH_EVERY).await;
            }
            match self.round().await {
                Ok(()) => {
                    backoff.reset();
                    self.look.notified().await;
                    // Missed by many at once, it is looked for once.
                    sleep(PAUSE).await;
                }
                Err(error) if error.is_temporary() => sleep(backoff.advance()).await,
                Err(_) => {
                    // A new connection may lead to another server, and new routes may need other things.
                    let _ = timeout(MENDING, self.look.notified()).await;
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(declaring) = self.declaring.get() {
            declaring.abort();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("readiness", &*self.inner.readiness.borrow()).finish_non_exhaustive()
    }
}
