//! The number of requests that were accepted and are not done.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time;

use super::app::NatsApp;
use crate::Error;

/// How many requests may wait. If there are more, clients pause, as otherwise more would be accepted than done.
const MOST: u64 = 1024;

/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(10);

/// The requests that wait in an app's stream. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    context: Context,
    stream: &'static str,
    messages: watch::Receiver<u64>,
    _looking: Arc<AbortOnDrop>,
}

/// Aborts the polling task when dropped.
#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Backlog {
    pub(super) async fn watch(at: &NatsApp) -> Result<Self, Error> {
        let context = jetstream::new(async_nats::connect(&at.nats).await?);
        let stream = at.delivery.namespace();
        let (sender, messages) = watch::channel(0);
        let looking = context.clone();
        let task = tokio::spawn(async move {
            while !sender.is_closed() {
                if let Some(messages) = look(&looking, stream).await {
                    sender.send_replace(messages);
                }
                time::sleep(PAUSE).await;
            }
        });
        Ok(Self { context, stream, messages, _looking: Arc::new(AbortOnDrop(task.abort_handle())) })
    }

    /// How many requests wait now. Returns `None` if the server does not respond.
    pub(super) async fn now(&self) -> Option<u64> {
        look(&self.context, self.stream).await
    }

    /// Waits while too many requests wait.
    pub(super) async fn room(&mut self) {
        let _ = self.messages.wait_for(|messages| *messages < MOST).await;
    }
}

async fn look(context: &Context, stream: &str) -> Option<u64> {
    Some(context.get_stream(stream).await.ok()?.cached_info().state.messages)
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
