use std::time::Duration;

use async_nats::Client;
use narun_core::{App, Namespace};
use narun_nats::jetstream::StreamSettings;
use narun_nats::jetstream::TaskStreams;

use crate::error::ServeError;
use crate::settings::MIN_ACK_WAIT;

/// Declares what the durable delivery of a namespace needs in JetStream: the stream of requests, that of dead letters, a
/// consumer for each app, and the buckets of outcomes and large bodies.
///
/// For administrators: with that, gateways and consumers get by with fewer [permissions](crate::permissions) and
/// [`StreamSettings::declare`] set to false. Without it, each declares what it needs when it starts. What exists is
/// checked and left as it is, so this can be done again, for a new app or to see whether all is well;
/// `ack_wait` is that of [`Serve::ack_wait`](crate::Serve::ack_wait), 5 s by default.
///
/// Every call to the server takes up to 5 s. Cancel safe: what is declared by then stays.
///
/// # Errors
///
/// [`ServeError::Name`] and [`ServeError::Setting`] before anything is done; [`ServeError::Stream`] for the first that
/// cannot be declared, cannot be reached, or exists otherwise.
pub async fn declare(
    client: Client,
    namespace: impl Into<String>,
    apps: impl IntoIterator<Item = impl Into<String>>,
    settings: StreamSettings,
    ack_wait: Duration,
) -> Result<(), ServeError> {
    let namespace = Namespace::new(namespace)?;
    let apps = apps.into_iter().map(App::new).collect::<Result<Vec<_>, _>>()?;
    if ack_wait < MIN_ACK_WAIT {
        return Err(ServeError::Setting("an ack wait of less than 100 ms cannot be kept"));
    }
    let tasks = TaskStreams::new(client, namespace, settings);
    tasks.declare_stream().await?;
    tasks.declare_dead_letters().await?;
    for app in &apps {
        tasks.declare_consumer(app, ack_wait).await?;
    }
    tasks.outcomes().await?;
    tasks.bodies().await?;
    Ok(())
}
