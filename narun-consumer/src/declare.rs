use std::time::Duration;

use async_nats::Client;
use narun_core::{App, Namespace};
use narun_nats::jetstream::StreamSettings;
use narun_nats::jetstream::TaskStreams;

use crate::error::ServeError;
use crate::settings::MIN_ACK_WAIT;

/// Declares everything in JetStream that the durable requests of a namespace need: the stream of requests, the stream of
/// dead letters, a consumer for each app, and the buckets of outcomes and large bodies.
///
/// For administrators: afterwards gateways and consumers need fewer [permissions](crate::permissions), with
/// [`StreamSettings::declare`] set to false. Otherwise each of them declares what it needs when it starts. Existing
/// streams, consumers and buckets are compared with the settings and not changed, so this may be called again, for
/// another app or as a check. `ack_wait` is the value of [`Serve::ack_wait`](crate::Serve::ack_wait), 5 s by default.
///
/// Each request to the server times out after 5 s. Cancel safe: what has been declared stays.
///
/// # Errors
///
/// [`ServeError::Name`] and [`ServeError::Setting`], before anything is declared. [`ServeError::Stream`] for the first
/// stream, consumer or bucket that cannot be declared, is unavailable, or differs from the settings.
pub async fn declare(
    client: impl Into<Client>,
    namespace: impl Into<String>,
    apps: impl IntoIterator<Item = impl Into<String>>,
    settings: StreamSettings,
    ack_wait: Duration,
) -> Result<(), ServeError> {
    let namespace = Namespace::new(namespace)?;
    let apps = apps.into_iter().map(App::new).collect::<Result<Vec<_>, _>>()?;
    if ack_wait < MIN_ACK_WAIT {
        return Err(ServeError::Setting("the ack wait must be at least 100 ms"));
    }
    let tasks = TaskStreams::new(client.into(), namespace, settings);
    tasks.declare_stream().await?;
    tasks.declare_dead_letters().await?;
    for app in &apps {
        tasks.declare_consumer(app, ack_wait).await?;
    }
    tasks.outcomes().await?;
    tasks.bodies().await?;
    Ok(())
}
