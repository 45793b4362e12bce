//! Durable delivery on NATS as it is run in production, and on its bad days: with TLS, over a leaf node, through a domain, in
//! lame duck mode, after a reload, and with a user that is revoked.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use narun_consumer::{Body, StreamSettings, serve};
use narun_gateway::{Gateway, Route};
use narun_support::Server;
use tower::service_fn;

use crate::gateway::{HttpResponse, get, send};
use crate::harness::{eventually, soon};

/// A body that is stored as an object.
const LARGE: usize = 300 * 1024;

/// A gateway and a consumer of durable requests. The handler responds with the length of the body.
struct Pair {
    gateway: Gateway,
    runs: Arc<AtomicUsize>,
    _consumer: tokio::task::JoinHandle<()>,
}

impl Pair {
    async fn new(gateway: Client, consumer: Client, settings: [StreamSettings; 2]) -> Self {
        let [of_gateway, of_consumer] = settings;
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = runs.clone();
        let service = service_fn(move |request: Request<Body>| {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                let length = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
                Ok::<_, Infallible>(Response::new(Body::from(length.to_string())))
            }
        });
        let gateway = Gateway::builder(gateway)
            .stream_settings(of_gateway)
            .route(Route::any("/", "hello").prefix().durable())
            .build()
            .await
            .expect("a gateway");
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let serving = serve(consumer, "hello", service)
            .stream("TASK")
            .stream_settings(of_consumer)
            .on_ready(move || ready.send(()).unwrap_or_default());
        let consumer = tokio::spawn(async move {
            let ended = serving.await;
            assert!(ended.is_ok(), "{ended:?}");
        });
        soon("a consumer", is_ready).await.expect("it is ready");
        Self { gateway, runs, _consumer: consumer }
    }

    async fn post(&self, size: usize, fields: &[(&str, &str)]) -> HttpResponse {
        let mut request = Request::builder().method(Method::POST).uri("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        send(&self.gateway, request.body(Body::from(Bytes::from(vec![0; size]))).expect("a request")).await
    }

    /// Waits until a request of this size is done.
    async fn does(&self, size: usize) {
        eventually("a response", async || {
            let response = self.post(size, &[]).await;
            if response.status != StatusCode::OK {
                // Shown if the test fails.
                println!("{size}: {response:?}");
                return false;
            }
            assert_eq!(response.body, size.to_string());
            true
        })
        .await;
    }

    /// Uses all that is stored: requests, large bodies, outcomes, the secret of keys.
    async fn does_all(&self) {
        self.does(1).await;
        self.does(LARGE).await;
        let accepted = self.post(2, &[("prefer", "respond-async")]).await;
        assert_eq!(accepted.status, StatusCode::ACCEPTED, "{accepted:?}");
        let location = accepted.headers["location"].to_str().expect("text").to_owned();
        eventually("an outcome", async || {
            let status = send(&self.gateway, get(&location)).await;
            status.status == StatusCode::OK && status.body == "2"
        })
        .await;
        let runs = self.runs.load(Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(self.post(3, &[("idempotency-key", "key")]).await.body, "3");
        }
        assert_eq!(self.runs.load(Ordering::SeqCst), runs + 1);
    }
}

/// Small messages, so that a large body is one of 300 KiB.
fn config(more: &str) -> String {
    format!("max_payload: {}\n{more}", 256 * 1024)
}

fn start(jetstream: bool, config: String) -> Server {
    Server::builder().jetstream(jetstream).config(config).start().expect("a nats-server")
}

async fn connect(server: &Server) -> Client {
    async_nats::connect(server.url()).await.expect("a connection")
}

fn default() -> [StreamSettings; 2] {
    [StreamSettings::new(), StreamSettings::new()]
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A hub with JetStream, and the configuration of its leaf nodes.
fn hub() -> (Server, String) {
    let port = free_port();
    let hub = start(
        true,
        config(&format!(
            "server_name: hub\njetstream {{ domain: hub }}\nleafnodes {{ listen: \"127.0.0.1:{port}\" }}"
        )),
    );
    (hub, format!("leafnodes {{ remotes: [{{ url: \"nats-leaf://127.0.0.1:{port}\" }}] }}"))
}

/// What a client of a leaf node needs to know: leaf nodes pass on nothing of `$JS.API`.
fn of_hub() -> StreamSettings {
    StreamSettings::new().domain("hub")
}

#[tokio::test]
async fn with_tls() {
    let files = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (files.path().join("certificate.pem"), files.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(&certificate, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let server = start(true, config(&format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n")));
    let connect = async || {
        let options = ConnectOptions::new().add_root_certificates(certificate.clone()).require_tls(true);
        options.connect(server.url()).await.expect("a connection")
    };
    Pair::new(connect().await, connect().await, default()).await.does_all().await;
}

#[tokio::test]
async fn over_a_leaf_node() {
    let (hub, remotes) = hub();
    let leaf = start(false, config(&format!("server_name: leaf\n{remotes}")));
    let settings = [of_hub(), StreamSettings::new()];
    Pair::new(connect(&leaf).await, connect(&hub).await, settings).await.does_all().await;
}

#[tokio::test]
async fn through_the_domain_of_another_server() {
    let (hub, remotes) = hub();
    let leaf = start(true, config(&format!("server_name: leaf\njetstream {{ domain: leaf }}\n{remotes}")));
    let pair = Pair::new(connect(&leaf).await, connect(&leaf).await, [of_hub(), of_hub()]).await;
    pair.does_all().await;
    // The streams are in the hub, where another gateway needs no domain.
    let context = async_nats::jetstream::new(connect(&hub).await);
    context.get_stream("TASK").await.expect("a stream in the hub");
    let context = async_nats::jetstream::new(connect(&leaf).await);
    assert!(context.get_stream("TASK").await.is_err(), "none in the leaf");
    let near = Gateway::builder(connect(&hub).await)
        .route(Route::any("/", "hello").prefix().durable())
        .build()
        .await
        .expect("a gateway");
    let mut request = Request::new(Body::from("123"));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert("idempotency-key", http::HeaderValue::from_static("key"));
    let runs = pair.runs.load(Ordering::SeqCst);
    assert_eq!(send(&near, request).await.status, StatusCode::UNPROCESSABLE_ENTITY, "the same secret");
    assert_eq!(pair.runs.load(Ordering::SeqCst), runs);
}

#[tokio::test]
async fn in_lame_duck_mode_nothing_accepted_is_lost() {
    let (_hub, remotes) = hub();
    let lame_duck = "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1s\"";
    let edge = |name: &str| start(false, config(&format!("server_name: {name}\n{lame_duck}\n{remotes}")));
    let (mut first, second) = (edge("first"), edge("second"));
    let connect = async || {
        let options = ConnectOptions::new().retain_servers_order();
        options.connect([first.url(), second.url()].as_slice()).await.expect("a connection")
    };
    let clients = [connect().await, connect().await];
    let [gateway, consumer] = clients.clone();
    let pair = Pair::new(gateway, consumer, [of_hub(), of_hub()]).await;
    pair.does(1).await;
    // It blocks until the server has ended.
    let leaving = tokio::task::spawn_blocking(move || first.lame_duck());
    let mut accepted = 0;
    eventually("clients on the other server", async || {
        let response = pair.post(1, &[("prefer", "respond-async")]).await;
        let status = response.status;
        assert!([StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE].contains(&status), "{response:?}");
        accepted += usize::from(status == StatusCode::ACCEPTED);
        let moved = clients.iter().all(|client| client.server_info().server_name == "second");
        moved && status == StatusCode::ACCEPTED && accepted > 10
    })
    .await;
    eventually("all runs", async || pair.runs.load(Ordering::SeqCst) > accepted).await;
    pair.does(1).await;
    soon("the first server's end", leaving).await.expect("no panic").expect("an end");
}

#[tokio::test]
async fn after_a_reload_that_shrinks_and_grows_messages() {
    let mut server = start(true, config(""));
    let pair = Pair::new(connect(&server).await, connect(&server).await, default()).await;
    pair.does(128 * 1024).await;
    server.reload(format!("max_payload: {}\n", 64 * 1024)).expect("a reload");
    eventually("smaller messages", async || connect(&server).await.server_info().max_payload == 64 * 1024)
        .await;
    for size in [1, 32 * 1024, 128 * 1024, LARGE] {
        pair.does(size).await;
    }
    server.reload(format!("max_payload: {}\n", 1024 * 1024)).expect("a reload");
    eventually("larger messages", async || connect(&server).await.server_info().max_payload == 1024 * 1024)
        .await;
    for size in [1, 128 * 1024, LARGE] {
        pair.does(size).await;
    }
}

#[tokio::test]
async fn a_user_that_is_revoked_and_readmitted_goes_on() {
    let users = |names: &[&str]| {
        let users = names.iter().map(|name| format!("{{ user: {name}, password: {name} }}"));
        config(&format!("authorization {{ users: [{}] }}\n", users.collect::<Vec<_>>().join(", ")))
    };
    let mut server = start(true, users(&["gateway", "hello"]));
    let connect = async |user: &str| {
        let options = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned());
        options
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .connect(server.url())
            .await
            .expect("a connection")
    };
    let (gateway, hello) = (connect("gateway").await, connect("hello").await);
    let pair = Pair::new(gateway, hello, default()).await;
    pair.does(1).await;

    // Without its consumer, work is accepted and waits.
    server.reload(users(&["gateway"])).expect("a reload");
    eventually("no consumer", async || {
        let runs = pair.runs.load(Ordering::SeqCst);
        let waits = pair.post(1, &[("prefer", "respond-async, wait=1")]).await;
        waits.status == StatusCode::ACCEPTED && pair.runs.load(Ordering::SeqCst) == runs
    })
    .await;
    let runs = pair.runs.load(Ordering::SeqCst);
    server.reload(users(&["gateway", "hello"])).expect("a reload");
    eventually("the work that waited", async || pair.runs.load(Ordering::SeqCst) > runs).await;

    server.reload(users(&["hello"])).expect("a reload");
    eventually("no gateway", async || pair.post(1, &[]).await.status == StatusCode::SERVICE_UNAVAILABLE)
        .await;
    server.reload(users(&["gateway", "hello"])).expect("a reload");
    pair.does_all().await;
}
