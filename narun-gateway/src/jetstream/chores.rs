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

/// How long deleting a body may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Work on bodies and records that outlives the requests it is for: a client that leaves must not leave chunks behind.
/// Ends with the gateway.
pub(crate) struct Chores {
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
}

/// A body that is held as an object for one request. Dropped, it is deleted, unless it is [kept](Parked::keep).
#[derive(Debug)]
pub(crate) struct Parked {
    chores: Weak<Chores>,
    bodies: BodyStore,
    object: ObjectRef,
    kept: bool,
}

impl Chores {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { tasks: Mutex::default(), runtime }
    }

    /// Stores a body. Cancel safe: what is stored then is deleted again.
    pub(crate) async fn park(
        self: &Arc<Self>,
        bodies: BodyStore,
        id: ExchangeId,
        body: Bytes,
    ) -> Result<Parked, Failure> {
        let (sender, receiver) = oneshot::channel();
        let chores = Arc::downgrade(self);
        self.spawn(async move {
            let object = bodies.put(id, body).await;
            let parked = object.map(|object| Parked { chores, bodies, object, kept: false });
            // Where nobody waits any more, it is dropped, and so deleted.
            let _ = sender.send(parked);
        });
        match receiver.await {
            Ok(Ok(parked)) => Ok(parked),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(FailureKind::JetStreamUnavailable.into()),
        }
    }

    /// Does this, whatever becomes of the request that it is for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }
}

impl Parked {
    pub(crate) const fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// From now on the request may be stored, whose consumer deletes the body.
    pub(crate) const fn keep(&mut self) {
        self.kept = true;
    }

    /// No request refers to it: it is deleted.
    pub(crate) fn discard(mut self) {
        self.kept = false;
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        // Without a gateway there is nobody left to do it.
        if !self.kept
            && let Some(chores) = self.chores.upgrade()
        {
            let (bodies, object) = (self.bodies.clone(), self.object.clone());
            chores.spawn(async move {
                match timeout(LIMIT, bodies.delete(&object)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(%error, object = object.name, "a body stays behind"),
                    Err(_) => tracing::warn!(object = object.name, "a body was not deleted in time"),
                }
            });
        }
    }
}

fn failure(error: &BodyStoreError) -> Failure {
    let kind = match error {
        BodyStoreError::Full => FailureKind::StreamFull,
        _ => FailureKind::JetStreamUnavailable,
    };
    Failure::new(kind).with_detail(error.to_string())
}

impl fmt::Debug for Chores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chores").finish_non_exhaustive()
    }
}
