//! The page on permissions lists exactly the permissions that are needed.

mod durable;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use futures::StreamExt;
use futures::future::join_all;
use http::{Method, Request, Response, StatusCode};
use narun_consumer::{Body, NatsEvents, Permission, ServeError, serve};
use narun_gateway::{BuildError, Gateway, Route};
use narun_support::Server;
use tokio::sync::Notify;
use tower::service_fn;

use crate::gateway::{get, request, send};
use crate::harness::{eventually, soon};

const PAGE: &str = include_str!("../../PERMISSIONS.md");

/// One of the server configurations on the page.
fn configuration(number: usize) -> &'static str {
    let rest = PAGE.split("```conf\n").nth(number + 1).expect("a configuration");
    rest.split_once("```").expect("its end").0
}

/// Whether a line is an entry of a list.
fn is_entry(line: &str) -> bool {
    line.trim_start().starts_with('"')
}

/// A configuration without the entry on one of its lines.
fn without(config: &str, line: usize) -> String {
    // An empty list would allow everything.
    let lines = config.lines().enumerate();
    lines.map(|(number, text)| if number == line { "\"unused\"" } else { text }.to_owned() + "\n").collect()
}

/// Counts the messages and subscriptions that the server refuses.
#[derive(Clone, Default)]
struct Refusals(Arc<AtomicUsize>);

impl Refusals {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    async fn connect(&self, server: &Server, user: &str, inbox: &str) -> Client {
        let count = self.0.clone();
        ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned())
            .custom_inbox_prefix(inbox)
            .event_callback(move |event| {
                if matches!(event, Event::ServerError(_)) {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                std::future::ready(())
            })
            .connect(server.url())
            .await
            .expect("a connection")
    }
}

/// Uses everything between a gateway and a consumer: quick and slow responses, a probe, a cancel, a refusal, and a
/// shutdown.
async fn use_all(server: &Server, refusals: &Refusals) {
    let consumer = refusals.connect(server, "hello", "_CONSUMER.hello").await;
    let gateway = refusals.connect(server, "gateway", "_GATEWAY").await;
    let [started, ended] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let signal = Arc::new(Notify::new());
    let counters = [started.clone(), ended.clone()];
    let service = service_fn(move |request: Request<Body>| {
        let [started, ended] = counters.clone();
        started.fetch_add(1, Ordering::SeqCst);
        let guard = CountDrop(ended);
        async move {
            match request.uri().path() {
                "/slow" => tokio::time::sleep(Duration::from_millis(1600)).await,
                "/never" => std::future::pending().await,
                _ => {}
            }
            drop(guard);
            Ok::<_, Infallible>(Response::new(Body::from("done")))
        }
    });
    let shutdown = {
        let signal = signal.clone();
        async move { signal.notified().await }
    };
    let consumer = tokio::spawn(
        serve(consumer, "hello", service)
            .concurrency(1)
            .queue(0)
            .inbox_prefixes(["_GATEWAY"])
            .with_graceful_shutdown(shutdown)
            .into_future(),
    );
    let gateway = Gateway::builder(gateway)
        .inbox_prefixes(["_CONSUMER"])
        .route(Route::any("/", "hello").prefix())
        .build()
        .await
        .expect("a gateway");
    eventually("an answer", async || send(&gateway, get("/quick")).await.status == StatusCode::OK).await;
    assert_eq!(send(&gateway, request(Method::POST, "/slow", "")).await.body, "done");
    let before = started.load(Ordering::SeqCst);
    let never = send(&gateway, request(Method::POST, "/never", ""));
    let never = tokio::time::timeout(Duration::from_secs(3), never);
    let meanwhile = async {
        eventually("a started handler", async || started.load(Ordering::SeqCst) > before).await;
        assert_eq!(send(&gateway, get("/quick")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    };
    assert!(futures::future::join(never, meanwhile).await.0.is_err());
    eventually("a dropped handler", async || ended.load(Ordering::SeqCst) > before).await;
    signal.notify_one();
    soon("the end", consumer).await.expect("no panic").expect("a graceful end");
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn the_listed_permissions_are_enough() {
    let server = Server::builder().config(configuration(0)).start().expect("a nats-server");
    let refusals = Refusals::default();
    use_all(&server, &refusals).await;
    assert_eq!(refusals.count(), 0);
}

#[tokio::test]
async fn without_any_one_permission_something_is_refused() {
    let entries: Vec<_> = configuration(0).lines().enumerate().filter(|(_, line)| is_entry(line)).collect();
    assert_eq!(entries.len(), 7);
    let without = entries.into_iter().map(async |(line, entry)| {
        let server =
            Server::builder().config(without(configuration(0), line)).start().expect("a nats-server");
        let refusals = Refusals::default();
        tokio::select! {
            () = use_all(&server, &refusals) => assert_ne!(refusals.count(), 0, "not needed: {entry}"),
            () = eventually("a refusal", async || refusals.count() > 0) => {}
        }
    });
    join_all(without).await;
}

#[tokio::test]
async fn everything_else_is_refused() {
    let server = Server::builder().config(configuration(0)).start().expect("a nats-server");
    for (user, publish, subscribe) in [
        (
            "gateway",
            &["call.OTHER.hello", "_GATEWAY.x", "_INBOX.x", "$JS.API.INFO", "task.TASK.hello"][..],
            &["call.TASK.hello", "call.TASK.hello hello", "_CONSUMER.>", "_INBOX.>", ">"][..],
        ),
        (
            "hello",
            &["call.TASK.hello", "call.TASK.other", "_CONSUMER.other.x", "_INBOX.x", "$JS.API.INFO"][..],
            // Without the queue group it would receive all requests, and each would get two responses.
            &[
                "call.TASK.hello",
                "call.TASK.hello mine",
                "call.TASK.other other",
                "_GATEWAY.>",
                "_CONSUMER.>",
                ">",
            ][..],
        ),
    ] {
        let inbox = if user == "gateway" { "_GATEWAY" } else { "_CONSUMER.hello" };
        are_refused(&server, user, inbox, publish, subscribe).await;
    }
}

/// Checks that a user may neither publish to nor subscribe to these subjects.
async fn are_refused(
    server: &Server,
    user: &str,
    inbox: &str,
    publish: &[&'static str],
    subscribe: &[&'static str],
) {
    let refusals = Refusals::default();
    let client = refusals.connect(server, user, inbox).await;
    let mut expected = 0;
    for subject in publish {
        client.publish(*subject, "".into()).await.expect("a message sent");
        expected += 1;
        eventually(subject, async || refusals.count() == expected).await;
    }
    for subject in subscribe {
        let subscribed = match subject.split_once(' ') {
            Some((subject, group)) => client.queue_subscribe(subject.to_owned(), group.to_owned()).await,
            None => client.subscribe(*subject).await,
        };
        drop(subscribed.expect("a subscription sent"));
        expected += 1;
        eventually(subject, async || refusals.count() == expected).await;
    }
}

/// A user who may do anything but this.
fn except(permission: &str, subject: &str) -> String {
    let limits = format!("{{ {permission}: {{ deny: [\"{subject}\"] }} }}");
    format!("authorization {{ users: [ {{ user: any, password: any, permissions: {limits} }} ] }}")
}

async fn connect(server: &Server, events: &NatsEvents) -> Client {
    let options = ConnectOptions::with_user_and_password("any".to_owned(), "any".to_owned());
    options.event_callback(events.callback()).connect(server.url()).await.expect("a connection")
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).expect("a text")
}

#[tokio::test]
async fn a_request_that_is_not_permitted_is_503_at_once() {
    let server = Server::builder().config(except("publish", "call.TASK.app")).start().expect("a nats-server");
    let events = NatsEvents::new();
    let gateway = Gateway::builder(connect(&server, &events).await)
        .nats_events(events)
        .route(Route::any("/app", "app"))
        .route(Route::any("/other", "other"))
        // Longer than the test waits.
        .timeout(Duration::from_secs(600))
        .build()
        .await
        .expect("a gateway");
    for method in [Method::GET, Method::POST, Method::POST] {
        let answer = soon("a response", send(&gateway, request(method, "/app", ""))).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text(&answer.body).contains("permission"), "{answer:?}");
    }
    let answer = soon("a response", send(&gateway, get("/other"))).await;
    assert!(text(&answer.body).contains("no consumer"), "{answer:?}");
    assert!(format!("{gateway:?}").contains("open_tokens: 0"), "{gateway:?}");
}

#[tokio::test]
async fn a_consumer_or_gateway_that_may_not_subscribe_does_not_start() {
    let service = service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::empty())));
    for (subject, denied) in [("call.TASK.app", "call.TASK.app"), ("_INBOX.>", "_INBOX.")] {
        let server = Server::builder().config(except("subscribe", subject)).start().expect("a nats-server");
        let events = NatsEvents::new();
        let served = serve(connect(&server, &events).await, "app", service).nats_events(events);
        let served = soon("an error", served.start_timeout(Duration::from_secs(600)).into_future()).await;
        let Err(ServeError::NotPermitted(error)) = served else { panic!("{served:?}") };
        assert_eq!(error.permission, Permission::Subscribe);
        assert!(error.subject.starts_with(denied), "{error}");
    }
    // With and without the events of the client.
    let server = Server::builder().config(except("subscribe", "_INBOX.>")).start().expect("a nats-server");
    for (with_events, timeout) in [(true, 600_000), (false, 1)] {
        let events = NatsEvents::new();
        let mut builder = Gateway::builder(connect(&server, &events).await)
            .route(Route::any("/", "app"))
            .start_timeout(Duration::from_millis(timeout));
        if with_events {
            builder = builder.nats_events(events);
        }
        let built = soon("an error", builder.build()).await;
        assert!(matches!(built, Err(BuildError::NotPermitted(_))), "{built:?}");
    }
    let served = serve(connect(&server, &NatsEvents::new()).await, "app", service);
    let served = soon("an error", served.start_timeout(Duration::from_millis(1)).into_future()).await;
    assert!(matches!(served, Err(ServeError::NotPermitted(_))), "{served:?}");
}

#[tokio::test]
async fn a_start_without_an_inbox_does_not_drop_handlers() {
    let denied = "permissions: { subscribe: { deny: [\"_CONSUMER.>\"] } }";
    let users = format!("{{ user: any, password: any, {denied} }}, {{ user: all, password: all }}");
    let server = Server::builder().config(format!("authorization {{ users: [ {users} ] }}")).start();
    let server = server.expect("a nats-server");
    let refusals = Refusals::default();
    let gateway = refusals.connect(&server, "all", "_INBOX").await;
    let mut messages = gateway.subscribe("_CONSUMER.>").await.expect("a subscription");
    let builder = Gateway::builder(gateway).inbox_prefixes(["_INBOX", "_CONSUMER"]);
    let gateway = builder.route(Route::any("/", "app")).build().await.expect("a gateway");
    let (started, ends) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notices = (started.clone(), ends.clone());
    let service = service_fn(move |_: Request<Body>| {
        let (started, ends) = notices.clone();
        async move {
            started.notify_one();
            ends.notified().await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        }
    });
    let consumer = refusals.connect(&server, "any", "_CONSUMER").await;
    let served = serve(consumer, "app", service).start_timeout(Duration::from_secs(2));
    let mut served = tokio::spawn(served.into_future());
    let answer = tokio::spawn(async move {
        loop {
            let answer = send(&gateway, request(Method::POST, "/", "")).await;
            // Its subscription has not arrived yet.
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
        }
    });
    soon("a request", started.notified()).await;
    // It sends to a token of its own until the start times out, and to another one from then on.
    let mut tokens = std::collections::HashSet::new();
    while tokens.len() < 2 {
        tokio::select! {
            ended = &mut served => panic!("{ended:?}"),
            message = soon("another message", messages.next()) => {
                let message = message.expect("a message");
                // A PROBE of the gateway names a reply.
                if message.reply.is_none() {
                    tokens.insert(message.subject.to_string());
                }
            }
        }
    }
    ends.notify_one();
    assert_eq!(soon("a response", answer).await.expect("no panic").status, StatusCode::OK);
    served.abort();
}
