//! The page on permissions lists exactly the permissions that are needed.

mod durable;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response, StatusCode};
use narun_consumer::{Body, NatsClient, NatsEvents, Permission, Serve, ServeError, serve};
use narun_gateway::{BuildError, Gateway, Route};
use narun_support::Server;
use tokio::sync::{Notify, oneshot};
use tower::{Service, service_fn};
use tracing::Level;

use crate::gateway::{get, request, send};
use crate::harness::{eventually, new_app, soon};
use crate::observed::logs;

/// What is logged of a missing permission.
const DENIED: &str = "NATS denies a permission that the user of this client lacks";

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

    async fn connect(&self, server: &Server, user: &str, inbox: &str) -> NatsClient {
        let (count, events) = (self.0.clone(), NatsEvents::new());
        let handled = events.clone();
        let options = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned())
            .custom_inbox_prefix(inbox)
            .event_callback(move |event| {
                if matches!(event, Event::ServerError(_)) {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                handled.handle(&event);
                std::future::ready(())
            });
        NatsClient::new(options.connect(server.url()).await.expect("a connection"), events)
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
            // It may panic.
            _ = AssertUnwindSafe(use_all(&server, &refusals)).catch_unwind() => {}
            () = eventually("a refusal", async || refusals.count() > 0) => {}
        }
        assert_ne!(refusals.count(), 0, "not needed: {entry}");
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
    let client: Client = refusals.connect(server, user, inbox).await.into();
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

async fn connect(server: &Server) -> NatsClient {
    NatsClient::connect(
        ConnectOptions::new().user_and_password("any".to_owned(), "any".to_owned()),
        server.url(),
    )
    .await
    .expect("a connection")
}

/// A client that reports no missing permissions.
async fn connect_without_events(server: &Server) -> NatsClient {
    Client::from(connect(server).await).into()
}

fn service() -> impl Service<
    Request<Body>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send,
> + Clone
+ Send
+ 'static {
    service_fn(async |_: Request<Body>| Ok(Response::new(Body::empty())))
}

/// Starts a consumer, and waits until it is ready.
async fn start<S>(serve: Serve<S>)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let (ready, is_ready) = oneshot::channel();
    tokio::spawn(serve.on_ready(move || ready.send(()).unwrap_or_default()).into_future());
    soon("a consumer", is_ready).await.expect("it is ready");
}

/// What NATS does not permit: the permission, and the beginning of its subject.
fn assert_denied(served: Result<(), ServeError>, permission: Permission, subject: &str) {
    let Err(ServeError::NotPermitted(denied)) = served else { panic!("{served:?}") };
    assert_eq!(denied.permission, permission);
    assert!(denied.subject.starts_with(subject), "{denied}");
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).expect("a text")
}

#[tokio::test]
async fn a_request_that_is_not_permitted_is_503_at_once() {
    let server = Server::builder().config(except("publish", "call.TASK.app")).start().expect("a nats-server");
    let logs = logs();
    let gateway = Gateway::builder(connect(&server).await)
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
    let fields = [("permission", "publish"), ("subject", "call.TASK.app")];
    assert_eq!(logs.event(DENIED, &fields).await.0, Level::WARN);
    assert_eq!(logs.events(DENIED, &fields).len(), 1);
}

#[tokio::test]
async fn a_consumer_or_gateway_that_may_not_subscribe_does_not_start() {
    for (subject, denied) in [("call.TASK.app", "call.TASK.app"), ("_INBOX.>", "_INBOX.")] {
        let server = Server::builder().config(except("subscribe", subject)).start().expect("a nats-server");
        let logs = logs();
        let served = serve(connect(&server).await, "app", service()).start_timeout(Duration::from_secs(600));
        assert_denied(soon("an error", served.into_future()).await, Permission::Subscribe, denied);
        let shown = logs.events(DENIED, &[("permission", "subscribe")]);
        assert!(shown.iter().any(|(_, event)| event["subject"].starts_with(denied)), "{shown:?}");
        // Without events, it is found too.
        let served = serve(connect_without_events(&server).await, "app", service());
        let served = served.start_timeout(Duration::from_millis(1));
        assert_denied(soon("an error", served.into_future()).await, Permission::Subscribe, denied);
    }
    let server = Server::builder().config(except("subscribe", "_INBOX.>")).start().expect("a nats-server");
    for (nats, timeout) in [(connect(&server).await, 600_000), (connect_without_events(&server).await, 1)] {
        let builder = Gateway::builder(nats).route(Route::any("/", "app"));
        let built = soon("an error", builder.start_timeout(Duration::from_millis(timeout)).build()).await;
        assert!(matches!(built, Err(BuildError::NotPermitted(_))), "{built:?}");
    }
}

#[tokio::test]
async fn a_start_without_events_does_not_disturb_other_consumers() {
    let server = Server::start().expect("a nats-server");
    let (logs, app) = (logs(), new_app());
    for _ in 0..4 {
        let client = async_nats::connect(server.url()).await.expect("a connection");
        start(serve(client, app.as_str(), service())).await;
    }
    assert_eq!(logs.events("refused a request: it cannot be read", &[("app", &app)]).len(), 0);
}

#[tokio::test]
async fn a_consumer_or_gateway_that_may_not_ask_jetstream_does_not_start() {
    let config = except("publish", "$JS.API.>");
    let server = Server::builder().jetstream(true).config(config).start().expect("a nats-server");
    let subject = "$JS.API.STREAM.INFO.TASK";
    let served = serve(connect(&server).await, "app", service()).stream("TASK");
    let served = served.start_timeout(Duration::from_secs(600));
    assert_denied(soon("an error", served.into_future()).await, Permission::Publish, subject);
    let durable = || Route::any("/", "app").durable();
    let built = Gateway::builder(connect(&server).await).route(durable()).build();
    let Err(BuildError::NotPermitted(denied)) = soon("an error", built).await else { panic!("a gateway") };
    assert_eq!((denied.permission, &denied.subject[..]), (Permission::Publish, subject));
    // Without events, the text names the subject.
    let served = serve(connect_without_events(&server).await, "app", service()).stream("TASK");
    let served = soon("an error", served.start_timeout(Duration::from_millis(1)).into_future()).await;
    assert!(matches!(&served, Err(ServeError::Stream(text)) if text.contains(subject)), "{served:?}");
}

#[tokio::test]
async fn a_consumer_that_may_not_pull_does_not_start() {
    let config = except("publish", "$JS.API.CONSUMER.MSG.NEXT.>");
    let server = Server::builder().jetstream(true).config(config).start().expect("a nats-server");
    let served = serve(connect(&server).await, "app", service()).stream("TASK").into_future();
    let subject = "$JS.API.CONSUMER.MSG.NEXT.TASK.app";
    assert_denied(soon("an error", served).await, Permission::Publish, subject);
}

#[tokio::test]
async fn permissions_that_are_taken_away_and_granted_again_are_used_again() {
    let free = "authorization { users: [ { user: any, password: any } ] }";
    let mut server = Server::builder().config(free).start().expect("a nats-server");
    let gateway = Gateway::builder(connect(&server).await).route(Route::any("/", "app")).build();
    let gateway = gateway.await.expect("a gateway");
    start(serve(connect(&server).await, "app", service())).await;
    let status = async || send(&gateway, get("/")).await.status;
    assert_eq!(status().await, StatusCode::OK);
    // The subscription of the consumer, the inbox of the gateway.
    for (subject, without) in
        [("call.TASK.app", StatusCode::SERVICE_UNAVAILABLE), ("_INBOX.>", StatusCode::GATEWAY_TIMEOUT)]
    {
        server.reload(except("subscribe", subject)).expect("a reload");
        eventually("a denied subscription", async || {
            let request = tokio::time::timeout(Duration::from_secs(2), status());
            request.await.unwrap_or(StatusCode::GATEWAY_TIMEOUT) == without
        })
        .await;
        server.reload(free).expect("a reload");
        eventually("a response", async || status().await == StatusCode::OK).await;
    }
}

#[tokio::test]
async fn a_start_without_an_inbox_does_not_drop_handlers() {
    let denied = "permissions: { subscribe: { deny: [\"_CONSUMER.>\"] } }";
    let users = format!("{{ user: any, password: any, {denied} }}, {{ user: all, password: all }}");
    let server = Server::builder().config(format!("authorization {{ users: [ {users} ] }}")).start();
    let server = server.expect("a nats-server");
    let refusals = Refusals::default();
    let gateway = refusals.connect(&server, "all", "_INBOX").await;
    let mut messages = gateway.client().subscribe("_CONSUMER.>").await.expect("a subscription");
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
    let consumer = Client::from(refusals.connect(&server, "any", "_CONSUMER").await);
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
