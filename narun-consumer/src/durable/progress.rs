//! Progress acks for all running messages.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use tokio::time::timeout;

use super::acks::AckKind;
use super::state::WorkerState;

/// Sends progress acks for all running messages, every third of the ack wait. Never completes.
///
/// A task of its own, because a handler may block the thread that polls it. A thread wakes it in addition to tokio's
/// timer: if a handler blocks the thread that polled tokio's driver last, no other one does before something outside of the
/// runtime wakes it.
pub(super) async fn send_progress(state: Arc<WorkerState>) {
    // The thread ends when the future is dropped.
    let (_running, ended) = mpsc::channel();
    let ticking = thread::Builder::new().name("narun-progress".to_owned()).spawn({
        let state = state.clone();
        move || tick(&state, &ended)
    });
    if let Err(error) = ticking {
        tracing::warn!(%error, "there is no thread for progress acks: handlers must not block");
    }
    loop {
        let _ = timeout(state.ack_wait() / 3, state.progress_due.notified()).await;
        // While there is no connection, they would be sent after the reconnect, out of date.
        if !state.is_connected() {
            continue;
        }
        for subject in state.deliveries.running() {
            let _ = state.consumer.client.publish(subject, AckKind::Progress.payload()).await;
        }
    }
}

/// Wakes the task every third of the ack wait, until the sender is dropped.
fn tick(state: &WorkerState, ended: &mpsc::Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(state.ack_wait() / 3) {
        state.progress_due.notify_one();
    }
}
