//! Starts a handler for each request, and waits for all of them.

use std::sync::Arc;

use http::{Request, Response};
use narun_core::Body;
use narun_core::frame::Refusal;
use narun_nats::NatsEndpoint;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::consumer::{Consumer, Incoming, refuse};
use crate::dispatch::Dispatch;
use crate::error::BoxError;

/// Messages that the dispatcher has yet to look at; those that it never does are refused.
struct Backlog {
    receiver: mpsc::Receiver<Incoming>,
    endpoint: Arc<NatsEndpoint>,
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.receiver.close();
        while let Ok(incoming) = self.receiver.try_recv() {
            refuse(&self.endpoint, incoming.message, Refusal::Draining);
        }
    }
}

/// Runs handlers until the reader is gone and all of them are through.
pub(crate) async fn dispatch<S, B>(service: S, receiver: mpsc::Receiver<Incoming>, consumer: Arc<Consumer>)
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut spawned = JoinSet::new();
    let mut backlog = Backlog { receiver, endpoint: consumer.endpoint.clone() };
    loop {
        let incoming = tokio::select! {
            biased;
            Some(_) = spawned.join_next(), if !spawned.is_empty() => continue,
            incoming = backlog.receiver.recv() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let Some(admitted) = consumer.read(incoming) else { continue };
        let mut exchange = Box::pin(Dispatch::new(consumer.clone(), service.clone(), admitted));
        if !(consumer.admission.is_prompt() && exchange.as_mut().try_finish()) {
            spawned.spawn(exchange);
        }
    }
    while spawned.join_next().await.is_some() {}
}
