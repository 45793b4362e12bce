//! The order in which the parts of a consumer start and stop.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use narun_core::exchange::CalleeConfig;
use narun_core::{App, Body, Limits, Namespace};
use narun_nats::inbox::Endpoint;
use narun_nats::jetstream::TaskStreams;
use narun_nats::{Link, NatsEndpoint, NatsLink};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use crate::admission::Admission;
use crate::consumer::Consumer;
use crate::dispatcher::dispatch;
use crate::durable;
use crate::error::{BoxError, ServeError};
use crate::metrics::{self, Metrics};
use crate::reader::Reader;
use crate::settings::{Settings, Slots};

/// How long the server may take to say that it has everything.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// Between two looks at whether there is a connection.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn run<S, B>(service: S, settings: Settings) -> Result<(), ServeError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Settings { client, on_ready, shutdown, shutdown_timeout, .. } = settings;
    let app = App::new(settings.app)?;
    let namespace = Namespace::new(settings.namespace)?;
    settings.streams.check()?;
    let slots = Slots::of(settings.concurrency, settings.queue, &settings.durable)?;
    let link = NatsLink::new(client.clone());
    let prefix = link.inbox_prefix();
    let endpoint =
        Arc::new(Endpoint::new(link, &prefix, settings.replies, Limits::default(), metrics::discarded));
    let consumer = Arc::new(Consumer {
        app: app.clone(),
        make_span: settings.make_span,
        endpoint: endpoint.clone(),
        admission: Admission::new(slots.direct, slots.queue),
        exchange: CalleeConfig {
            instance: settings.instance,
            flow: settings.streams.flow(),
            ..CalleeConfig::default()
        },
        metrics: Metrics::new(app.as_str()),
    });

    // Dropping this future aborts all three tasks, and with two of them all handlers.
    let mut inbox = JoinSet::new();
    let mut dispatcher = JoinSet::new();
    let mut worker = JoinSet::new();
    let inbox_subscriber = endpoint.subscribe().await.map_err(|_| ServeError::ClientLost)?;
    inbox.spawn(endpoint.clone().run(inbox_subscriber));
    let (sender, receiver) = mpsc::channel(settings.concurrency + settings.queue);
    dispatcher.spawn(dispatch(service.clone(), receiver, consumer.clone()));

    // Dropped first: no handler starts while the others are dropped.
    let closing = Closing(consumer.clone());
    let mut reader = Reader::open(&client, &namespace, &app, consumer.clone(), sender).await?;
    let (works, working) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (leaves, left) = oneshot::channel();
    if settings.from_stream {
        let tasks = TaskStreams::new(client, namespace, settings.durable.stream.clone());
        let shared = durable::Shared::new(consumer.clone(), tasks, settings.durable, slots.durable);
        let control = durable::Control { ready: works, stop: stopped, left: leaves };
        worker.spawn(durable::work(service, Arc::new(shared), control));
    } else {
        let _ = works.send(());
        drop(leaves);
    }
    let ready = async {
        // Its end is told otherwise.
        if working.await.is_err() {
            std::future::pending::<()>().await;
        }
        known(&endpoint).await;
        tracing::debug!(%app, "serving");
        if let Some(on_ready) = on_ready {
            on_ready();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = ready => {}
        () = reader.run() => return Err(ServeError::ClientLost),
        _ = inbox.join_next() => return Err(ServeError::ClientLost),
        Some(Err(panic)) = dispatcher.join_next() => std::panic::resume_unwind(panic.into_panic()),
        Some(ended) = worker.join_next() => match ended {
            Ok(result) => return result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
        () = async { match shutdown { Some(signal) => signal.await, None => std::future::pending().await } } => {}
    }

    tracing::debug!(%app, "shutting down");
    let direct = async {
        reader.drain().await;
        drop(reader);
        if timeout(shutdown_timeout, dispatcher.join_next()).await.is_err() {
            tracing::warn!(%app, "handlers are still at work after the shutdown timeout, and are dropped");
            drop(closing);
            dispatcher.shutdown().await;
            // A handler that never yields cannot be dropped; nobody waits for it here.
            let _ = timeout(CONFIRMATION, consumer.admission.is_empty()).await;
        }
    };
    let durable = async {
        let _ = stop.send(());
        // Each of its steps has a limit.
        let _ = left.await;
        if timeout(shutdown_timeout, worker.join_next()).await.is_err() {
            tracing::warn!(%app, "durable requests are given back after the shutdown timeout");
            let _ = timeout(CONFIRMATION, worker.shutdown()).await;
        }
    };
    tokio::join!(direct, durable);
    if !matches!(timeout(CONFIRMATION, endpoint.round_trip()).await, Ok(Ok(()))) {
        tracing::warn!(%app, "no confirmation that the last responses have reached the server");
    }
    Ok(())
}

/// Completes once the server knows of everything subscribed so far.
async fn known(endpoint: &NatsEndpoint) {
    loop {
        // A message that is lost with the connection is not worth waiting for.
        let connected = endpoint.link().is_connected();
        if connected && matches!(timeout(CONFIRMATION, endpoint.round_trip()).await, Ok(Ok(()))) {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Closes the slots when it is dropped.
struct Closing(Arc<Consumer>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.admission.close();
    }
}
