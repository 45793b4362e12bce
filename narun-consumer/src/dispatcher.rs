//! Starts a handler for each received message.

use std::sync::Arc;

use http::{Request, Response};
use narun_core::Body;
use narun_core::frame::Refusal;
use narun_nats::inbox::Endpoint;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::consumer::{Consumer, ReceivedMessage, refuse};
use crate::error::BoxError;
use crate::handling::Handling;

/// Received messages that have no handler yet; they are refused when dropped.
struct Backlog {
    receiver: mpsc::Receiver<ReceivedMessage>,
    endpoint: Arc<Endpoint>,
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.receiver.close();
        while let Ok(received) = self.receiver.try_recv() {
            refuse(&self.endpoint, received.message, Refusal::Draining);
        }
    }
}

/// Runs handlers until the reader has been dropped and all handlers have finished.
pub(crate) async fn dispatch<S, B>(
    service: S,
    receiver: mpsc::Receiver<ReceivedMessage>,
    consumer: Arc<Consumer>,
) where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut spawned = JoinSet::new();
    let mut backlog = Backlog { receiver, endpoint: consumer.endpoint.clone() };
    loop {
        let received = tokio::select! {
            biased;
            Some(_) = spawned.join_next(), if !spawned.is_empty() => continue,
            received = backlog.receiver.recv() => received,
        };
        let Some(received) = received else { break };
        let Some(admitted) = consumer.read(received) else { continue };
        let mut handling = Box::pin(Handling::new(consumer.clone(), service.clone(), admitted));
        if !(consumer.admission.is_prompt() && handling.as_mut().try_finish()) {
            spawned.spawn(handling);
        }
    }
    while spawned.join_next().await.is_some() {}
}
