use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Client, Subject, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::Status;

use crate::random;
use crate::status::OrStatus;

/// Fences on their way at a time. Later callers share the next one.
const IN_FLIGHT: usize = 2;

/// The callers that share a fence, at most.
const SHARED: usize = 1024;

/// How often to look for callers that have gone while a fence does not come back.
const SWEEP: Duration = Duration::from_secs(1);

/// Messages to an own inbox. When one arrives, the server has received everything sent before it.
///
/// The client's flush ends when the bytes are written to the socket, which proves nothing.
#[derive(Debug)]
pub(super) struct Fence {
    waiting: mpsc::Sender<oneshot::Sender<()>>,
    runner: JoinHandle<()>,
}

/// A fence on its way, and the callers that wait for it.
type Flight = (u64, Vec<oneshot::Sender<()>>);

impl Fence {
    pub(super) async fn open(client: &Client) -> Result<Self, Status> {
        let inbox = Subject::from(random::inbox(client));
        let echoes = client.subscribe(inbox.clone()).await.or_status()?;
        let (waiting, queue) = mpsc::channel(SHARED);
        Ok(Self { waiting, runner: tokio::spawn(run(client.clone(), inbox, echoes, queue)) })
    }

    /// Waits for a fence that is sent after this call began. Returns `false` if the client is closed.
    pub(super) async fn pass(&self) -> bool {
        let (passed, done) = oneshot::channel();
        self.waiting.send(passed).await.is_ok() && done.await.is_ok()
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.runner.abort();
    }
}

async fn run(
    client: Client,
    inbox: Subject,
    mut echoes: Subscriber,
    mut queue: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut flights: VecDeque<Flight> = VecDeque::with_capacity(IN_FLIGHT);
    let mut number = 0_u64;
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let mut sharing = Vec::new();
        tokio::select! {
            taken = queue.recv_many(&mut sharing, SHARED), if flights.len() < IN_FLIGHT => {
                number += 1;
                let payload = Bytes::copy_from_slice(&number.to_be_bytes());
                if taken == 0 || client.publish(inbox.clone(), payload).await.is_err() {
                    return;
                }
                flights.push_back((number, sharing));
            }
            echo = echoes.next() => {
                // The client is closed: dropping the senders wakes all callers.
                let Some(echo) = echo else { return };
                let Ok(number) = <[u8; 8]>::try_from(&*echo.payload).map(u64::from_be_bytes) else { continue };
                while flights.front().is_some_and(|(first, _)| *first <= number) {
                    for passed in flights.pop_front().into_iter().flat_map(|(_, sharing)| sharing) {
                        // An error means that the caller has gone.
                        let _ = passed.send(());
                    }
                }
            }
            // A fence that was lost with the connection stays until its callers have gone.
            _ = sweep.tick() => flights.retain(|(_, sharing)| sharing.iter().any(|passed| !passed.is_closed())),
        }
    }
}
