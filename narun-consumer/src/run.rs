//! The order in which the parts of a consumer start and stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use narun_core::exchange::CalleeConfig;
use narun_core::{App, Body, Limits, Namespace};
use narun_nats::jetstream::TaskStreams;
use narun_nats::{Denied, Permission};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

use crate::admission::Admission;
use crate::consumer::Consumer;
use crate::dispatcher::dispatch;
use crate::durable;
use crate::error::{BoxError, ServeError};
use crate::log::FailureLog;
use crate::metrics::{self, Metrics};
use crate::reader::Reader;
use crate::settings::{Settings, Slots};

/// How long a round trip to the server may take.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// Serves until shutdown or an error.
pub(crate) async fn run<S, B>(service: S, settings: Settings) -> Result<(), ServeError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let Settings { nats, on_ready, shutdown, shutdown_timeout, start_timeout, .. } = settings;
    let app = App::new(settings.app)?;
    let namespace = Namespace::new(settings.namespace)?;
    settings.bodies.check()?;
    let slots = Slots::new(settings.concurrency, settings.queue, &settings.durable)?;
    // Subscriptions that are denied from now on are ours.
    let mut denials = nats.watch();
    let opened = narun_nats::open(&nats, settings.replies, Limits::default(), metrics::discarded).await;
    let (endpoint, inbox_reader) = opened.map_err(|_| ServeError::ClientLost)?;
    let mut exchange = CalleeConfig::default();
    exchange.instance = settings.instance;
    exchange.grace = settings.reconnect_grace;
    exchange.flow = settings.bodies.flow();
    let consumer = Arc::new(Consumer {
        app: app.clone(),
        make_span: settings.make_span,
        client: nats.client().clone(),
        endpoint: endpoint.clone(),
        admission: Admission::new(slots.direct, slots.queue),
        exchange: Arc::new(exchange),
        metrics: Metrics::new(app.as_str()),
        failures: Arc::new(FailureLog::new(app.clone())),
        has_taken: AtomicBool::new(false),
    });

    // Dropping this future aborts all three tasks, which drops all handlers.
    let mut inbox = JoinSet::new();
    let mut dispatcher = JoinSet::new();
    let mut worker = JoinSet::new();
    let (logged, events) = (consumer.clone(), nats.clone());
    inbox.spawn(async move {
        tokio::select! {
            _ = inbox_reader.run() => {}
            () = logged.failures.summarize() => {}
            () = events.summarize() => {}
        }
    });
    let (sender, receiver) = mpsc::channel(settings.concurrency + settings.queue);
    dispatcher.spawn(dispatch(service.clone(), receiver, consumer.clone()));

    // Dropped first, so that no queued handler starts while others are dropped.
    let close_slots = CloseSlots(consumer.clone());
    let mut reader = Reader::open(&nats, &namespace, &app, consumer.clone(), sender).await?;
    let names = Names {
        direct: namespace.call_subject(&app),
        durable: settings.from_stream.then(|| namespace.task_subject(&app)),
        namespace: namespace.clone(),
    };
    let mut task_streams: Option<TaskStreams> = None;
    let (pulls, pulling) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let (leaves, left) = oneshot::channel();
    if settings.from_stream {
        let tasks = TaskStreams::new(nats.clone(), namespace, settings.durable.stream.clone());
        task_streams = Some(tasks.clone());
        let state = durable::WorkerState::new(consumer.clone(), tasks, settings.durable, slots.durable);
        let control = durable::Control { pulling: pulls, stop: stopped, left: leaves, start_timeout };
        worker.spawn(durable::work(service, nats.clone(), Arc::new(state), control));
    } else {
        let _ = pulls.send(());
        drop(leaves);
    }
    let inbox_subject = endpoint.subject();
    let needs = |denied: &Denied| match denied.permission {
        Permission::Publish => {
            task_streams.as_ref().is_some_and(|streams| streams.is_api_subject(&denied.subject))
        }
        _ => {
            denied.subject == names.direct || denied.subject.starts_with(inbox_subject.trim_end_matches('*'))
        }
    };
    let started = async {
        // Its sender is dropped if the worker ends, which is handled below.
        if pulling.await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Err(denied) = endpoint.subscribed(start_timeout, None).await {
            if !consumer.has_taken.load(Ordering::Relaxed) {
                return Err(denied);
            }
            // Requests arrive, and an error would drop their handlers.
            let Denied { permission, subject, .. } = denied;
            tracing::warn!(
                %app,
                %permission,
                subject,
                "nothing has come back through the inbox yet: NATS is slow, or the user lacks this permission"
            );
            endpoint.subscribed(Duration::MAX, None).await?;
        }
        if nats.has_events() {
            // The client hands over events in a task of its own, which may be later than the message that came back.
            let _ = timeout(CONFIRMATION, endpoint.round_trip()).await;
        } else if endpoint.is_absent(names.direct.clone().into(), CONFIRMATION).await {
            return Err(Denied::new(Permission::Subscribe, names.direct.clone()));
        }
        Ok(())
    };
    let ready = async {
        let started = tokio::select! {
            biased;
            denied = denials.next(needs) => Err(denied),
            started = started => started,
        };
        if let Err(denied) = started {
            return denied;
        }
        tracing::info!(
            %app,
            namespace = %names.namespace,
            subject = names.direct,
            durable_subject = names.durable,
            "serving"
        );
        if let Some(on_ready) = on_ready {
            on_ready();
        }
        // What is denied from now on is tried again.
        std::future::pending().await
    };
    tokio::select! {
        denied = ready => return Err(ServeError::NotPermitted(denied)),
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
            tracing::warn!(%app, "the shutdown timed out: dropping the handlers that are still running");
            drop(close_slots);
            dispatcher.shutdown().await;
            // A handler that never yields cannot be dropped: do not wait for it any longer.
            let _ = timeout(CONFIRMATION, consumer.admission.is_empty()).await;
        }
    };
    let durable = async {
        let _ = stop.send(());
        // Every step of leaving has a time limit.
        let _ = left.await;
        if timeout(shutdown_timeout, worker.join_next()).await.is_err() {
            tracing::warn!(%app, "the shutdown timed out: giving back the durable requests that are still running");
            let _ = timeout(CONFIRMATION, worker.shutdown()).await;
        }
    };
    tokio::join!(direct, durable);
    if !matches!(timeout(CONFIRMATION, endpoint.round_trip()).await, Ok(Ok(()))) {
        tracing::warn!(%app, "the server did not confirm that it has the last responses");
    }
    Ok(())
}

/// What a consumer serves, for the log.
struct Names {
    namespace: Namespace,
    /// The subject of direct requests.
    direct: String,
    /// The subject of durable requests, if it serves these.
    durable: Option<String>,
}

/// Closes the slots for direct requests when dropped.
struct CloseSlots(Arc<Consumer>);

impl Drop for CloseSlots {
    fn drop(&mut self) {
        self.0.admission.close();
    }
}
