use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use narun_core::frame::ObjectRef;
use narun_core::{ExchangeId, Failure, FailureKind};
use narun_nats::jetstream::{BodyStore, BodyStoreError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long it may take to delete a body.
const LIMIT: Duration = Duration::from_secs(30);

/// Tasks on bodies and records that outlive their requests: a client that leaves must not leave chunks behind. They are
/// aborted when the gateway is dropped.
pub(crate) struct Background {
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
}

/// A request body that is stored as an object. Dropping it deletes the object, unless it was [kept](Self::keep).
#[derive(Debug)]
pub(crate) struct StoredBody {
    background: Weak<Background>,
    bodies: BodyStore,
    object: ObjectRef,
    kept: bool,
}

impl Background {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { tasks: Mutex::default(), runtime }
    }

    /// Stores a body that is in memory. Cancel safe: the object is deleted if it is stored afterwards.
    pub(crate) async fn store(
        self: &Arc<Self>,
        bodies: BodyStore,
        id: ExchangeId,
        body: Bytes,
    ) -> Result<StoredBody, Failure> {
        let (sender, receiver) = oneshot::channel();
        let background = Arc::downgrade(self);
        self.spawn(async move {
            let object = bodies.put(id, body).await;
            let stored = object.map(|object| StoredBody::new(background, bodies, object));
            // If the receiver is gone, this drops the body, which deletes the object.
            let _ = sender.send(stored);
        });
        match receiver.await {
            Ok(Ok(stored)) => Ok(stored),
            Ok(Err(error)) => Err(storing_failed(&error)),
            Err(_) => Err(FailureKind::JetStreamUnavailable.into()),
        }
    }

    /// Spawns a task that its request does not abort.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }
}

impl StoredBody {
    /// A body that was stored. `background` deletes it if it is not kept.
    pub(crate) const fn new(background: Weak<Background>, bodies: BodyStore, object: ObjectRef) -> Self {
        Self { background, bodies, object, kept: false }
    }

    pub(crate) const fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// Keeps the object, because the request may be stored: its consumer deletes the object.
    pub(crate) const fn keep(&mut self) {
        self.kept = true;
    }

    /// Deletes the object, because no stored request refers to it.
    pub(crate) fn discard(mut self) {
        self.kept = false;
    }
}

impl Drop for StoredBody {
    fn drop(&mut self) {
        // The gateway may have been dropped.
        if !self.kept
            && let Some(background) = self.background.upgrade()
        {
            let (bodies, object) = (self.bodies.clone(), self.object.clone());
            background.spawn(async move {
                match timeout(LIMIT, bodies.delete(&object)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => bodies.undeleted().log(&object, &error),
                    Err(_) => bodies.undeleted().log(&object, &"no response in time"),
                }
            });
        }
    }
}

/// The failure of a request whose body cannot be stored.
pub(crate) fn storing_failed(error: &BodyStoreError) -> Failure {
    let kind = match error {
        BodyStoreError::Full => FailureKind::StreamFull,
        BodyStoreError::NotPermitted(_) => FailureKind::NotPermitted,
        _ => FailureKind::JetStreamUnavailable,
    };
    Failure::new(kind).with_cause(error.to_string())
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}
