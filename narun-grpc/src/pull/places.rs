//! How many messages a client of ConsumeMessages may have that it has not acknowledged.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::consumer::{AckPolicy, Info};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use crate::Connection;
use crate::connection::{Unacknowledged, Worker};

/// How often the consumer is looked up while no place is free: an acknowledgement can be lost with a connection, or not be
/// visible here.
const LOOK: Duration = Duration::from_secs(2);

/// How long a look-up may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The places of a client for messages of a consumer with acknowledgements. Dropping it gives back the messages that are
/// not acknowledged.
pub(crate) struct Places {
    connection: Connection,
    stream: String,
    consumer: String,
    unacknowledged: Arc<Unacknowledged>,
    worker: Arc<Worker>,
    limit: usize,
    ack_wait: Duration,
}

impl Places {
    /// Returns `None` for a consumer without acknowledgements.
    pub(crate) fn new(connection: &Connection, stream: &str, info: &Info, limit: usize) -> Option<Self> {
        let all = match info.config.ack_policy {
            AckPolicy::None => return None,
            AckPolicy::All => true,
            AckPolicy::Explicit => false,
        };
        Some(Self {
            unacknowledged: connection.unacknowledged(stream, &info.name, all),
            connection: connection.clone(),
            stream: stream.to_owned(),
            consumer: info.name.clone(),
            worker: Arc::default(),
            limit,
            ack_wait: info.config.ack_wait,
        })
    }

    /// Adds a message that is sent to the client, and arrived at this time.
    pub(crate) async fn add(&self, sequence: u64, reply: Subject, arrived: Instant) -> Result<(), Status> {
        self.unacknowledged.add(sequence, reply, &self.worker, arrived, self.ack_wait);
        self.unacknowledged.listen(self.connection.client(), &self.stream, &self.consumer).await
    }

    /// Waits until a place is free, and returns how many are. NOT_FOUND if the consumer was deleted. Cancel safe.
    pub(crate) async fn free(&self) -> Result<usize, Status> {
        loop {
            match self.limit.saturating_sub(self.worker.taken()) {
                0 => {}
                free => return Ok(free),
            }
            if timeout(LOOK, self.worker.freed()).await.is_err() {
                self.look().await?;
            }
        }
    }

    async fn look(&self) -> Result<(), Status> {
        let looked_up = Instant::now();
        let info = self.connection.consumer_info(&self.stream, &self.consumer);
        match timeout(PATIENCE, info).await {
            Ok(Ok(info)) => {
                self.unacknowledged.update(looked_up, info.ack_floor.stream_sequence, info.num_ack_pending);
                Ok(())
            }
            Ok(Err(status)) if status.code() == Code::NotFound => Err(status),
            // There is no connection or no leader at the moment.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.connection.give_back(self.unacknowledged.take(&self.worker));
    }
}
