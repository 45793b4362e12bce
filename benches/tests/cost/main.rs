//! The cost of a small exchange on each side: messages, allocations and tasks. These tests fail if a change adds any.
//!
//! The measured side, with its NATS client, runs on the test's thread, and only allocations of that thread are counted.
//! Its peer has a thread of its own.

mod peer;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use narun_consumer::Body;
use narun_gateway::{Gateway, GatewayService, NotFound, Route};
use narun_support::Server;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use self::peer::{Requester, Responder, Wiretap};

/// The number of exchanges in a batch, one after the other, and the number of batches.
const EXCHANGES: usize = 100;
const BATCHES: usize = 10;

const CONTENT: &[u8] = &[b'x'; 200];

/// The cost per exchange in the cheapest batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    /// Rounded down, so that buffers that grow now and then, and timers that are due meanwhile, do not count.
    allocations: u64,
    tasks: u64,
}

#[test]
fn a_gateway_needs_13_allocations_and_no_task() {
    let _alone = alone();
    let server = Server::start().expect("a nats-server");
    let _responder = Responder::start(server.url(), "gateway-cost");
    let runtime = runtime();
    let gateway = runtime.block_on(gateway(&server, "gateway-cost"));
    let cost = cost(&runtime, requests, |requests| exchanges(&gateway, requests));
    assert_eq!(cost.tasks, 0, "{cost:?}");
    assert!(cost.allocations <= 13, "{cost:?}");
}

#[test]
fn a_consumer_needs_14_allocations_and_no_task() {
    let _alone = alone();
    let server = Server::start().expect("a nats-server");
    let runtime = runtime();
    runtime.block_on(consumer(&server, "consumer-cost"));
    let requester = Requester::start(server.url(), "consumer-cost");
    let cost = cost(&runtime, || (), |()| requester.make(EXCHANGES));
    assert_eq!(cost.tasks, 0, "{cost:?}");
    assert!(cost.allocations <= 14, "{cost:?}");
}

#[test]
fn an_exchange_is_two_messages() {
    let _alone = alone();
    let server = Server::start().expect("a nats-server");
    let wiretap = Wiretap::start(server.url());
    let runtime = runtime();
    runtime.block_on(async {
        consumer(&server, "wire-cost").await;
        let gateway = gateway(&server, "wire-cost").await;
        let before = wiretap.count().await;
        exchanges(&gateway, requests()).await;
        assert_eq!(wiretap.count().await - before, 2 * EXCHANGES);
    });
}

/// Lets only one test run at a time, as tasks are counted over the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn gateway(server: &Server, app: &str) -> GatewayService<NotFound> {
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let gateway = Gateway::builder(client).route(Route::post("/{*rest}", app)).build().await;
    gateway.expect("a gateway").service()
}

/// Starts a consumer whose handler is ready at its first poll, and waits until the consumer is ready.
async fn consumer(server: &Server, app: &str) {
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let handler = tower::service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(CONTENT))))
    });
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let serve = narun_consumer::serve(client, app, handler).on_ready(move || {
        let _ = ready.send(());
    });
    tokio::spawn(serve.into_future());
    is_ready.await.expect("a consumer");
}

fn requests() -> Vec<Request<Full<Bytes>>> {
    let request = || {
        let builder = Request::post("/some/path").header("host", "narun.example").header("accept", "*/*");
        builder.body(Full::new(Bytes::from_static(CONTENT))).expect("a request")
    };
    (0..EXCHANGES).map(|_| request()).collect()
}

async fn exchanges(gateway: &GatewayService<NotFound>, requests: Vec<Request<Full<Bytes>>>) {
    for request in requests {
        let Ok(response) = gateway.clone().oneshot(request).await;
        assert!(response.status().is_success(), "{response:?}");
        let content = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(content.len(), CONTENT.len());
    }
}

/// Measures batches of exchanges, after a first batch that warms up.
fn cost<P, F: Future<Output = ()>>(
    runtime: &Runtime,
    prepare: impl Fn() -> P,
    batch: impl Fn(P) -> F,
) -> Cost {
    runtime.block_on(batch(prepare()));
    let per_exchange = |count: u64| count / EXCHANGES as u64;
    let costs = (0..BATCHES).map(|_| {
        let prepared = prepare();
        let before = runtime.block_on(tasks_so_far());
        let allocations = allocation_counter::measure(|| runtime.block_on(batch(prepared)));
        let tasks = runtime.block_on(tasks_so_far()) - before;
        Cost { allocations: per_exchange(allocations.count_total), tasks }
    });
    costs.min_by_key(|cost| (cost.tasks, cost.allocations)).expect("a batch")
}

/// The number of tasks spawned in this process so far, without those spawned here: tokio numbers tasks.
async fn tasks_so_far() -> u64 {
    static COUNTING: AtomicU64 = AtomicU64::new(0);
    let [first, second] = [(); 2].map(|()| {
        let task = tokio::spawn(async {});
        task.id().to_string().parse::<u64>().expect("a number")
    });
    assert_eq!(second, first + 1, "the ids of tasks do not tell their number any more");
    second - COUNTING.fetch_add(2, Ordering::Relaxed)
}
