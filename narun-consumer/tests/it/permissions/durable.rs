//! Durable requests with the permissions on the page.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream as streams};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use narun_consumer::{Body, BoxError, DeadLetter, DeadLetters, StreamSettings, declare, serve};
use narun_gateway::{Gateway, Route};
use narun_support::Server;
use tokio::sync::{Notify, oneshot};
use tower::service_fn;

use super::{DENIED, Refusals, are_refused, configuration, connect, except, is_entry, text, without};
use crate::gateway::{HttpResponse, get, send};
use crate::harness::{eventually, soon};
use crate::observed::logs;

/// The number of servers that run at the same time.
const AT_ONCE: usize = 6;

/// The message limit of the servers, and a body over it. Small, because hashing large bodies takes long.
const MESSAGE: usize = 64 * 1024;
const LARGE: usize = 2 * MESSAGE;

const PURGE_OUTCOMES: &str = "$JS.API.STREAM.PURGE.KV_TASK-outcomes";

/// Who declares missing streams and buckets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Declares {
    Administrator,
    Each,
}

/// The configuration on the page.
fn config(declares: Declares) -> String {
    let mut config = configuration(1).to_owned();
    if declares == Declares::Each {
        let mut users = Vec::new();
        for line in configuration(2).lines() {
            match line.strip_prefix("# ") {
                Some(user) => users.push((user, String::new())),
                None => users.last_mut().expect("a user").1 += &format!("{line}\n"),
            }
        }
        for (user, entries) in users {
            let of_user = config.find(&format!("user: {user},")).expect("a user");
            let list =
                of_user + config[of_user..].find("publish: [\n").expect("a list") + "publish: [\n".len();
            config.insert_str(list, &entries);
        }
    }
    config
}

fn server(config: &str) -> Server {
    let config = format!("max_payload: {MESSAGE}\n{config}");
    Server::builder().jetstream(true).config(config).start().expect("a nats-server")
}

/// Everything that is done with durable requests: by a gateway, a consumer, and a program for dead letters.
struct Scenario {
    admin: Client,
    gateway: Gateway,
    letters: DeadLetters,
    /// How often the handler ran.
    runs: Arc<AtomicUsize>,
    /// Whether the failing request succeeds from now on.
    fixed: Arc<AtomicBool>,
}

impl Scenario {
    /// Runs all of it, until the consumer has shut down.
    async fn use_all(server: &Server, refusals: &Refusals, declares: Declares) {
        let settings = StreamSettings::new().declare(declares == Declares::Each);
        let admin = Client::from(refusals.connect(server, "admin", "_INBOX").await);
        if declares == Declares::Administrator {
            let all =
                declare(admin.clone(), "TASK", ["hello"], StreamSettings::new(), Duration::from_secs(5));
            all.await.expect("all is declared");
        }
        let gateway = Gateway::builder(refusals.connect(server, "gateway", "_GATEWAY").await)
            .stream_settings(settings.clone())
            .route(Route::any("/", "hello").prefix().durable())
            .build()
            .await
            .expect("a gateway");
        let letters = refusals.connect(server, "letters", "_LETTERS").await;
        let world = Self {
            admin,
            gateway,
            letters: DeadLetters::new(letters, "TASK").expect("a name"),
            runs: Arc::default(),
            fixed: Arc::default(),
        };
        let client = refusals.connect(server, "hello", "_CONSUMER.hello").await;
        let (ready, is_ready) = oneshot::channel();
        let signal = Arc::new(Notify::new());
        let shutdown = signal.clone();
        let (runs, fixed) = (world.runs.clone(), world.fixed.clone());
        let consumer = serve(client, "hello", service_fn(move |request| handle(request, &runs, &fixed)))
            .stream("TASK")
            .stream_settings(settings)
            .max_deliveries(2)
            .redelivery_delay(Duration::from_millis(1)..=Duration::from_millis(1))
            .inbox_prefixes(["_GATEWAY"])
            .on_ready(move || ready.send(()).unwrap_or_default())
            .with_graceful_shutdown(async move { shutdown.notified().await });
        let consumer = tokio::spawn(consumer.into_future());
        soon("a consumer", is_ready).await.expect("it is ready");
        world.answer().await;
        world.answer_later().await;
        world.bury().await;
        world.refuse().await;
        signal.notify_one();
        soon("the end", consumer).await.expect("no panic").expect("a graceful end");
    }

    async fn answer(&self) {
        assert_eq!(self.post("/", &[], 1).await.body, "1");
        assert_eq!(self.post("/", &[], LARGE).await.body, LARGE.to_string());
        self.has_no_bodies().await;
    }

    async fn answer_later(&self) {
        let location = self.post_for_later("/", 2).await;
        assert_eq!(self.fetch(&location, StatusCode::OK).await.body, "2");
        let runs = self.runs.load(Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(self.post("/", &[("idempotency-key", "key")], 3).await.body, "3");
        }
        assert_eq!(self.runs.load(Ordering::SeqCst), runs + 1);
    }

    async fn bury(&self) {
        let (location, letter) = self.dead_letter().await;
        self.fixed.store(true, Ordering::SeqCst);
        self.letters.put_back(letter.sequence()).await.expect("it is put back");
        assert_eq!(self.fetch(&location, StatusCode::OK).await.body, LARGE.to_string());
        self.has_no_bodies().await;
        self.fixed.store(false, Ordering::SeqCst);
        let (_, letter) = self.dead_letter().await;
        self.letters.delete(letter.sequence()).await.expect("it is deleted");
        self.has_no_bodies().await;
    }

    /// Sends a request that the stream does not accept.
    async fn refuse(&self) {
        let context = jetstream::new(self.admin.clone());
        let stream = context.get_stream("TASK").await.expect("a stream");
        let config = stream::Config { max_message_size: 32, ..stream.cached_info().config.clone() };
        context.update_stream(config).await.expect("a stream of small messages");
        assert_eq!(self.post("/", &[], LARGE).await.status, StatusCode::PAYLOAD_TOO_LARGE);
        self.has_no_bodies().await;
        let outcomes = async || {
            context.get_stream("KV_TASK-outcomes").await.expect("a bucket").cached_info().state.messages
        };
        let before = outcomes().await;
        let refused = self.post("/", &[("prefer", "respond-async")], LARGE).await;
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
        eventually("no record of it", async || outcomes().await == before).await;
    }

    async fn post(&self, target: &str, fields: &[(&str, &str)], size: usize) -> HttpResponse {
        let mut request = Request::builder().method(Method::POST).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        send(&self.gateway, request.body(Body::from(Bytes::from(vec![0; size]))).expect("a request")).await
    }

    async fn post_for_later(&self, target: &str, size: usize) -> String {
        let accepted = self.post(target, &[("prefer", "respond-async")], size).await;
        assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
        accepted.headers["location"].to_str().expect("text").to_owned()
    }

    /// Waits for the stored response.
    async fn fetch(&self, location: &str, status: StatusCode) -> HttpResponse {
        let mut answer = send(&self.gateway, get(location)).await;
        eventually("a response", async || {
            answer = send(&self.gateway, get(location)).await;
            answer.status != StatusCode::ACCEPTED
        })
        .await;
        assert_eq!(answer.status, status, "{answer:?}");
        answer
    }

    /// Sends a large request that fails, and returns where its response is stored.
    async fn dead_letter(&self) -> (String, DeadLetter) {
        let location = self.post_for_later("/fails", LARGE).await;
        self.fetch(&location, StatusCode::INTERNAL_SERVER_ERROR).await;
        let letters = self.letters.list(Some("hello"), 0, 10).await.expect("a list");
        let [letter] = letters.as_slice() else { panic!("{letters:?}") };
        (location, letter.clone())
    }

    async fn has_no_bodies(&self) {
        let context = jetstream::new(self.admin.clone());
        eventually("no bodies", async || {
            let bodies = context.get_stream("OBJ_TASK-bodies").await.expect("a bucket");
            bodies.cached_info().state.messages == 0
        })
        .await;
    }
}

fn handle(
    request: Request<Body>,
    runs: &AtomicUsize,
    fixed: &Arc<AtomicBool>,
) -> impl Future<Output = Result<Response<Body>, BoxError>> + use<> {
    runs.fetch_add(1, Ordering::SeqCst);
    let fixed = fixed.clone();
    async move {
        if request.uri().path() == "/fails" && !fixed.load(Ordering::SeqCst) {
            return Err("on purpose".into());
        }
        let body = request.into_body().collect().await?.to_bytes();
        Ok(Response::new(Body::from(body.len().to_string())))
    }
}

#[tokio::test]
async fn the_listed_permissions_are_enough() {
    for declares in [Declares::Administrator, Declares::Each] {
        let server = server(&config(declares));
        let refusals = Refusals::default();
        Scenario::use_all(&server, &refusals, declares).await;
        assert_eq!(refusals.count(), 0);
    }
}

#[tokio::test]
async fn without_any_one_permission_something_is_refused() {
    let entries = |declares| {
        let config = config(declares);
        let entries = config.lines().enumerate().filter(|(_, line)| is_entry(line));
        let cases = entries.map(|(line, entry)| (declares, entry.to_owned(), without(&config, line)));
        cases.collect::<Vec<_>>()
    };
    let mut cases = entries(Declares::Administrator);
    assert_eq!(cases.len(), 34);
    // The entries that both configurations share have been tested.
    let additional = entries(Declares::Each).into_iter().filter(|(_, entry, _)| entry.contains(".CREATE."));
    cases.extend(additional);
    assert_eq!(cases.len(), 39);
    let run = async |(declares, entry, config): (Declares, String, String)| {
        let server = server(&config);
        let refusals = Refusals::default();
        tokio::select! {
            // It may panic.
            _ = AssertUnwindSafe(Scenario::use_all(&server, &refusals, declares)).catch_unwind() => {}
            () = soon_refused(&refusals) => {}
        }
        assert_ne!(refusals.count(), 0, "not needed: {entry}");
    };
    streams::iter(cases).map(run).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Waits for the first refusal. The refused request itself would only time out after 5 s.
async fn soon_refused(refusals: &Refusals) {
    while refusals.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn everything_else_is_refused() {
    let server = server(&config(Declares::Administrator));
    let foreign = [
        "task.OTHER.hello",
        "_INBOX.x",
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.CREATE.TASK",
        "$JS.API.STREAM.CREATE.OTHER",
        "$JS.API.STREAM.UPDATE.TASK",
        "$JS.API.STREAM.DELETE.TASK",
        "$JS.API.STREAM.PURGE.TASK",
        "$JS.API.STREAM.MSG.GET.TASK",
        "$JS.API.CONSUMER.CREATE.TASK.hello.task.TASK.hello",
        "$JS.API.CONSUMER.CREATE.TASK.other",
        "$JS.API.CONSUMER.DURABLE.CREATE.TASK.other",
        "$JS.API.CONSUMER.DELETE.TASK.hello",
        "$JS.API.CONSUMER.MSG.NEXT.TASK.other",
        "$JS.ACK.TASK.other.1.1.1.1.0",
        "dead.TASK.other",
        "$KV.OTHER-outcomes.x",
    ];
    for (user, inbox, publish, subscribe) in [
        (
            "gateway",
            "_GATEWAY",
            &["call.TASK.hello", "dead.TASK.hello", "$JS.API.CONSUMER.MSG.NEXT.TASK.hello", "_GATEWAY.x"][..],
            &["task.TASK.hello", "$JS.ACK.>", "$KV.>", "_CONSUMER.>", ">"][..],
        ),
        (
            "hello",
            "_CONSUMER.hello",
            &["task.TASK.hello", "$O.TASK-bodies.C.x", "_CONSUMER.other.x", PURGE_OUTCOMES][..],
            &["task.TASK.hello", "dead.TASK.hello", "call.TASK.hello", "_GATEWAY.>", "$JS.ACK.>", ">"][..],
        ),
        (
            "letters",
            "_LETTERS",
            &["dead.TASK.hello", "$O.TASK-bodies.C.x", "_GATEWAY.x", PURGE_OUTCOMES][..],
            &["task.TASK.hello", "dead.TASK.hello", "$KV.>", "_GATEWAY.>", ">"][..],
        ),
    ] {
        are_refused(&server, user, inbox, &[&foreign, publish].concat(), subscribe).await;
    }
}

#[tokio::test]
async fn a_durable_request_that_is_not_permitted_is_503_at_once() {
    let (keyed, later) = (&[("idempotency-key", "key")][..], &[("prefer", "respond-async")][..]);
    let cases = [
        ("task.TASK.app", &[][..], 1),
        ("$O.TASK-bodies.>", &[], LARGE),
        ("$JS.API.STREAM.INFO.OBJ_TASK-bodies", &[], LARGE),
        ("$KV.TASK-outcomes.>", keyed, 1),
        ("$KV.TASK-outcomes.>", later, 1),
        ("$JS.API.STREAM.MSG.GET.KV_TASK-outcomes", keyed, 1),
    ];
    for (subject, fields, size) in cases {
        let (server, logs) = (server(&except("publish", subject)), logs());
        let gateway = Gateway::builder(connect(&server).await).route(Route::any("/", "app").durable());
        let gateway = soon("a gateway", gateway.build()).await.expect("a gateway");
        let mut request = Request::post("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(Bytes::from(vec![0; size]))).expect("a request");
        let answer = soon("a response", send(&gateway, request)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{subject}: {answer:?}");
        // Another text means that a time limit has ended.
        assert!(text(&answer.body).contains("permission"), "{subject}: {answer:?}");
        let denied = logs.events(DENIED, &[("permission", "publish")]);
        let beginning = subject.trim_end_matches('>');
        assert!(denied.iter().any(|(_, event)| event["subject"].starts_with(beginning)), "{denied:?}");
    }
}
