//! A consumer at work: the reader, the dispatcher, and their end.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message};
use futures::StreamExt;
use http::{Request, Response};
use narun_core::exchange::{Callee, CalleeConfig};
use narun_core::frame::{DecodeError, Refusal, Refused, RequestFrame, VERSIONS};
use narun_core::{App, Body, Limits, Namespace, Time};
use narun_nats::drive::Shared;
use narun_nats::inbox::Endpoint;
use narun_nats::jetstream::TaskStreams;
use narun_nats::{Link, NatsEndpoint, NatsLink};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;

use crate::admission::{Admission, Place};
use crate::dispatch::{Admitted, Consumer, Dispatch};
use crate::drain::Meter;
use crate::durable;
use crate::error::{BoxError, ServeError};
use crate::extensions::{Delivery, Received};
use crate::machine::Machine;
use crate::metrics::{self, Metrics};
use crate::serve::{DurableSettings, Settings};
use crate::upload::Upload;

/// How long the server may take to say that it has everything.
const CONFIRMATION: Duration = Duration::from_secs(2);

/// The shortest ack wait: words of a busy process come late.
pub(crate) const MIN_ACK_WAIT: Duration = Duration::from_millis(100);

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

/// How many requests are handled, and how many wait for that.
struct Slots {
    direct: u32,
    queue: u32,
    durable: u32,
}

impl Slots {
    fn of(concurrency: usize, queue: usize, durable: &DurableSettings) -> Result<Self, ServeError> {
        let of_durable = durable.concurrency.unwrap_or(concurrency);
        let delay = &durable.redelivery_delay;
        for (wrong, why) in [
            (concurrency == 0, "a concurrency of zero handles nothing"),
            (of_durable == 0, "a concurrency of zero handles no durable requests"),
            (durable.max_deliveries == 0, "no request can be done in no delivery"),
            (durable.ack_wait < MIN_ACK_WAIT, "an ack wait of less than 100 ms cannot be kept"),
            (delay.start() > delay.end(), "the first redelivery delay is over the longest one"),
        ] {
            if wrong {
                return Err(ServeError::Setting(why));
            }
        }
        let total = u32::try_from(concurrency.saturating_add(queue));
        match (u32::try_from(concurrency), u32::try_from(queue), u32::try_from(of_durable), total) {
            (Ok(direct), Ok(queue), Ok(durable), Ok(_)) => Ok(Self { direct, queue, durable }),
            _ => Err(ServeError::Setting("concurrency and queue are over 4,294,967,295 together")),
        }
    }
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

/// A message with a place, on its way from the reader to the dispatcher.
struct Incoming {
    message: Message,
    received: Time,
    place: Place,
}

/// Takes messages off the subscription; runs no user code, and waits for nothing else.
struct Reader {
    subscriber: async_nats::Subscriber,
    consumer: Arc<Consumer>,
    sender: mpsc::Sender<Incoming>,
    meter: Meter,
}

impl Reader {
    async fn open(
        client: &Client,
        namespace: &Namespace,
        app: &App,
        consumer: Arc<Consumer>,
        sender: mpsc::Sender<Incoming>,
    ) -> Result<Self, ServeError> {
        let subscriber = client
            .queue_subscribe(namespace.call_subject(app), app.as_str().to_owned())
            .await
            .map_err(|_| ServeError::ClientLost)?;
        let meter = Meter::new(consumer.endpoint.link().epoch());
        Ok(Self { subscriber, consumer, sender, meter })
    }

    /// Reads until the subscription ends. Cancel safe: no message is lost.
    async fn run(&mut self) {
        while let Some(message) = self.subscriber.next().await {
            self.take(message);
        }
    }

    fn take(&mut self, message: Message) {
        let endpoint = &self.consumer.endpoint;
        let received = endpoint.link().now();
        self.meter.count(received, endpoint.link().epoch());
        let answerable = message.reply.as_ref().is_some_and(|reply| endpoint.replies().allows(reply));
        if !answerable {
            return metrics::foreign_reply();
        }
        match self.consumer.admission.admit() {
            // The channel has as much room as there are places.
            Some(place) => drop(self.sender.try_send(Incoming { message, received, place })),
            None => {
                self.consumer.metrics.refused(metrics::Refusal::Overloaded);
                refuse(endpoint, message, Refusal::Overloaded);
            }
        }
    }

    /// Leaves the queue group, and takes what the server has sent until it knows.
    async fn drain(&mut self) {
        let endpoint = self.consumer.endpoint.clone();
        let asked = Instant::now();
        let round_trip = async {
            let _ = timeout(Meter::PATIENCE, endpoint.round_trip()).await;
            asked.elapsed()
        };
        let round_trip = tokio::select! {
            () = self.run() => return,
            round_trip = round_trip => round_trip,
        };
        if let Some(last) = self.meter.last_message(endpoint.link().now(), round_trip) {
            let _ = self.subscriber.unsubscribe_after(last).await;
            if timeout(Meter::PATIENCE, self.run()).await.is_ok() {
                return;
            }
        }
        let _ = self.subscriber.drain().await;
        let _ = timeout(Meter::PATIENCE, self.run()).await;
    }
}

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
async fn dispatch<S, B>(service: S, receiver: mpsc::Receiver<Incoming>, consumer: Arc<Consumer>)
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

impl Consumer {
    /// Makes an HTTP request of a message, or turns it away.
    fn read(&self, incoming: Incoming) -> Option<Admitted> {
        let Incoming { message, received, place } = incoming;
        let Self { endpoint, exchange, metrics, .. } = self;
        let frame = match RequestFrame::decode(&message.payload, endpoint.limits()) {
            Ok(frame) if frame.head.object.is_none() => frame,
            Ok(_) => return self.turn_away(message, Refusal::BadFrame, "a body that is not here"),
            Err(error @ DecodeError::Version(_)) => return self.turn_away(message, Refusal::Version, error),
            Err(error) => return self.turn_away(message, Refusal::BadFrame, error),
        };
        let machine = Callee::new(received, &frame.head, message.reply?, exchange);
        let link = endpoint.link();
        let now = link.now();
        if machine.deadline().is_some_and(|deadline| deadline <= now) {
            metrics.cancelled(narun_core::exchange::Cancelled::Deadline, false);
            return None;
        }
        let span = (self.make_span)(&frame.parts, &self.app);
        let deadline = machine.deadline();
        let (machine, body) = if frame.head.end {
            (Machine::Own(machine), Body::from(frame.body).with_trailers(frame.trailers))
        } else {
            let config = self.streaming();
            let machine = machine.with_body(received, frame.head.head_timeout, frame.body, &config);
            let (shared, incoming) = Shared::new(machine);
            let upload = Upload::new(incoming, &frame.parts.headers);
            (Machine::Shared(shared), Body::streaming(upload))
        };
        let mut request = Request::from_parts(frame.parts, body);
        request.extensions_mut().insert(Received {
            id: frame.head.id,
            app: self.app.clone(),
            peer: frame.head.peer,
            scheme: frame.head.scheme,
            deadline: deadline.map(|deadline| Instant::now() + (deadline - now)),
            delivery: Delivery::Direct { attempt: frame.head.attempt },
        });
        Some(Admitted { request, machine, received, span, place })
    }

    /// The largest frame that may be sent at the moment.
    pub(crate) fn room(&self) -> usize {
        self.endpoint.limits().frame.min(self.endpoint.link().client().max_payload())
    }

    /// The settings of an exchange that streams, by what the server says of itself now.
    pub(crate) fn streaming(&self) -> CalleeConfig {
        let mut config = self.exchange.clone();
        config.flow.frame = self.room();
        config.max_payload = self.endpoint.link().client().max_payload() as u64;
        config
    }

    fn turn_away(&self, message: Message, reason: Refusal, why: impl std::fmt::Display) -> Option<Admitted> {
        tracing::debug!(%why, "refused a message");
        self.metrics.refused(match reason {
            Refusal::Version => metrics::Refusal::Version,
            _ => metrics::Refusal::BadFrame,
        });
        refuse(&self.endpoint, message, reason);
        None
    }
}

/// Tells the gateway that its request was not executed.
fn refuse(endpoint: &NatsEndpoint, message: Message, reason: Refusal) {
    let Some(reply) = message.reply else { return };
    let versions = if reason == Refusal::Version { VERSIONS.to_vec() } else { Vec::new() };
    let refused = Refused { reason, retry_after: None, versions };
    // Whoever cannot be told for a full queue hears nothing, and sends again or gives up.
    let _ = endpoint.publish_or_drop(reply, None, refused.encode());
}
