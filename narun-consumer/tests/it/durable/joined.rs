//! Requests that are delivered again while they run, or after they were done, in the same process.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use http::{Request, Response, StatusCode};
use narun_consumer::Body;
use narun_core::frame::Frame;
use tokio::sync::oneshot;
use tower::service_fn;

use super::{Handler, SentRequest, World, new_head, start, through};
use crate::gate::Gate;
use crate::harness::{Metrics, SERVER, connect, eventually, soon};
use crate::lossy::Lossy;

const ACK_WAIT: Duration = Duration::from_millis(300);

/// A handler that blocks its thread until the test sends the name of what it does then.
#[derive(Clone)]
struct Blocking {
    runs: Arc<AtomicUsize>,
    orders: Arc<std::sync::Mutex<mpsc::Receiver<&'static str>>>,
}

impl Blocking {
    fn new() -> (Self, mpsc::Sender<&'static str>) {
        let (sender, receiver) = mpsc::channel();
        (Self { runs: Arc::default(), orders: Arc::new(std::sync::Mutex::new(receiver)) }, sender)
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    fn handle(&self) -> Result<Response<Body>, Infallible> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let order = self.orders.lock().expect("no panic").recv_timeout(Duration::from_secs(60));
        match order {
            Ok("panic") => std::panic::resume_unwind(Box::new("on purpose")),
            _ => Ok(Response::new(Body::from("done"))),
        }
    }
}

/// A consumer in a runtime of one thread, which a blocking handler stops.
struct OneThread {
    stop: oneshot::Sender<()>,
    /// Returns how many deliveries were joined.
    thread: thread::JoinHandle<f64>,
}

impl OneThread {
    async fn serve(world: &World, blocking: &Blocking, max_deliveries: u64) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = oneshot::channel();
        let (app, namespace) = (world.app.to_string(), world.namespace.to_string());
        let blocking = blocking.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // The recorder is that of the thread.
            let (metrics, name) = (Metrics::install(), app.clone());
            runtime.expect("a runtime").block_on(async {
                let service = service_fn(move |_: Request<Body>| {
                    let blocking = blocking.clone();
                    async move { blocking.handle() }
                });
                let serve = narun_consumer::serve(connect().await, app, service)
                    .stream(namespace)
                    .ack_wait(ACK_WAIT)
                    .max_deliveries(max_deliveries)
                    .redelivery_delay(Duration::from_millis(1)..=Duration::from_millis(20))
                    .on_ready(move || {
                        let _ = ready.send(());
                    });
                let _ = serve.with_graceful_shutdown(async { drop(stopped.await) }).await;
            });
            metrics.value("http_consumer_joined_total", &[("app", name.as_str())])
        });
        soon("a consumer", is_ready).await.expect("a consumer that is ready");
        Self { stop, thread }
    }

    /// Stops it. Returns how many deliveries were joined.
    async fn stop(self) -> f64 {
        drop(self.stop);
        eventually("its end", async || self.thread.is_finished()).await;
        self.thread.join().expect("no panic")
    }
}

/// Waits until the server has delivered the only request this many times.
async fn delivered(world: &World, times: u64) {
    let mut consumer = world.consumer(ACK_WAIT).await;
    eventually("deliveries", async || {
        consumer.info().await.expect("the consumer's state").delivered.consumer_sequence >= times
    })
    .await;
}

/// A request that runs in a consumer, which may deliver it twice, and was delivered to it more often meanwhile.
struct Joined {
    world: World,
    consumer: OneThread,
    blocking: Blocking,
    orders: mpsc::Sender<&'static str>,
    asked: SentRequest,
}

impl Joined {
    async fn new() -> Self {
        let world = World::new().await;
        let (blocking, orders) = Blocking::new();
        let consumer = OneThread::serve(&world, &blocking, 2).await;
        let asked = world.ask("/").await;
        // All of them to this process, which cannot read them.
        delivered(&world, 4).await;
        Self { world, consumer, blocking, orders, asked }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_does_not_stop_progress_acks() {
    let world = World::new().await;
    let (blocking, orders) = Blocking::new();
    let service = {
        let blocking = blocking.clone();
        service_fn(move |_: Request<Body>| {
            let blocking = blocking.clone();
            async move {
                // Continued by the thread that polls the driver, which no thread polls while that one is blocked.
                tokio::time::sleep(Duration::from_millis(1)).await;
                blocking.handle()
            }
        })
    };
    start(world.serve(service).await.ack_wait(ACK_WAIT)).await;
    let acks = format!("$JS.ACK.{}.{}.>", world.namespace, world.app);
    let mut acks = world.client.subscribe(acks).await.expect("a subscription");
    let mut asked = [world.ask("/").await, world.ask("/").await];
    // Four ack waits.
    let mut progress = 0;
    while progress < 2 * 12 {
        let ack = soon("a progress ack", acks.next()).await.expect("an open subscription");
        assert_eq!(ack.payload, "+WPI");
        progress += 1;
    }
    let info = world.consumer(ACK_WAIT).await.info().await.expect("the consumer's state").clone();
    assert_eq!((info.num_redelivered, info.delivered.consumer_sequence), (0, 2));
    for _ in &asked {
        orders.send("done").expect("a handler");
    }
    for asked in &mut asked {
        assert_eq!(asked.response().await.body, "done");
    }
    world.is_done().await;
    assert_eq!(blocking.runs(), 2);
}

#[tokio::test]
async fn a_request_that_is_delivered_again_while_it_runs_runs_once() {
    let Joined { world, consumer, blocking, orders, mut asked } = Joined::new().await;
    assert_eq!(blocking.runs(), 1);
    orders.send("done").expect("a handler");
    assert_eq!(asked.response().await.body, "done");
    assert!(world.dead().await.is_empty());
    let joined = consumer.stop().await;
    assert!(joined >= 3.0, "{joined}");
    assert_eq!(blocking.runs(), 1);
    assert!(asked.has_no_response(), "one response");
}

#[tokio::test]
async fn deliveries_to_a_running_handler_do_not_count_as_failures() {
    let Joined { world, consumer, blocking, orders, mut asked } = Joined::new().await;
    // The first failure of two that are allowed.
    orders.send("panic").expect("a handler");
    orders.send("done").expect("a handler");
    assert_eq!(asked.response().await.body, "done");
    assert!(world.dead().await.is_empty());
    consumer.stop().await;
    assert_eq!(blocking.runs(), 2);
}

#[tokio::test]
async fn the_last_failure_of_a_request_that_was_joined_makes_a_dead_letter() {
    let Joined { world, consumer, blocking, orders, mut asked } = Joined::new().await;
    orders.send("panic").expect("a handler");
    orders.send("panic").expect("a handler");
    assert_eq!(asked.status().await, StatusCode::INTERNAL_SERVER_ERROR);
    let dead = world.dead().await;
    let [letter] = &dead[..] else { panic!("{dead:?}") };
    assert!(letter.reason().contains("panicked"), "{}", letter.reason());
    consumer.stop().await;
    assert_eq!(blocking.runs(), 2);
}

#[tokio::test]
async fn a_request_that_may_run_in_another_process_is_no_dead_letter() {
    let metrics = Metrics::install();
    let Joined { world, consumer, blocking, orders, mut asked } = Joined::new().await;
    let handler = Handler::default();
    let serve = world.serve(handler.clone()).await.ack_wait(ACK_WAIT).max_deliveries(2);
    start(serve.redelivery_delay(Duration::from_secs(60)..=Duration::from_secs(60))).await;
    let app = ("app", world.app.as_str());
    eventually("a delivery to the other process", async || {
        metrics.value("http_consumer_redelivered_total", &[app]) >= 1.0
    })
    .await;
    orders.send("done").expect("a handler");
    assert_eq!(asked.response().await.body, "done");
    assert!(world.dead().await.is_empty());
    consumer.stop().await;
    assert_eq!((blocking.runs(), handler.runs()), (1, 0));
}

#[tokio::test]
async fn a_response_that_was_lost_with_the_connection_is_sent_again() {
    let world = World::new().await;
    let (gate, lossy) = (Gate::new(), Lossy::start(SERVER.port()).await);
    let client = lossy.connect().await;
    // One slot, which is in use until the ack is confirmed or that times out: a body has to be deleted then.
    start(world.serve_over(client.clone(), through(&gate)).durable_concurrency(1)).await;
    let mut head = new_head();
    let bodies = world.tasks.bodies().await.expect("a bucket");
    head.object = Some(Box::new(bodies.put(head.id, "body".into()).await.expect("a body stored")));
    let request = Request::post("/").body(Body::empty()).expect("a request");
    let mut asked = world.send_request(head, request, &[]).await;
    eventually("a handler", async || gate.started() == 1).await;
    // Without the consumer, nothing receives its ack.
    let stream = world.tasks.context().get_stream(world.namespace.task_stream()).await.expect("a stream");
    stream.delete_consumer(world.app.as_str()).await.expect("a consumer deleted");
    lossy.lose(|frame| matches!(frame, Frame::Response(_)));
    gate.open(1);
    eventually("a lost response", async || lossy.has_lost()).await;
    client.force_reconnect().await.expect("a reconnect");
    assert_eq!(asked.response().await.body, "/");
    world.is_done().await;
    assert_eq!(gate.started(), 1);
}
