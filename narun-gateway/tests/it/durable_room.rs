//! What many bodies of durable requests take together: memory, room in their bucket, and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::UnboundedSender;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use http::{Request, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;
use narun_gateway::{BoxError, Gateway, StreamSettings};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::durable_bodies::{MIB, open_upload, piece};
use crate::harness::{
    HttpResponse, SERVER, connect, eventually, new_app, new_namespace, send, settle, soon, spawn,
};
use crate::proxy::Proxy;
use crate::worker::{Worker, durable_builder, durable_pair_with, durable_route};

const SECOND: Duration = Duration::from_secs(1);

/// An upload of which nothing has been sent.
struct Client {
    body: UnboundedSender<Bytes>,
    response: JoinHandle<HttpResponse>,
}

/// Begins an upload. `length` is its `Content-Length`.
fn begin(gateway: &Gateway, length: Option<usize>) -> Client {
    let (body, mut request) = open_upload();
    if let Some(length) = length {
        request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    Client { body, response: spawn(gateway, request) }
}

impl Client {
    fn send(&self, length: usize) {
        self.body.unbounded_send(piece(length)).expect("sent");
    }

    /// The response after the end of the body.
    async fn end(self) -> HttpResponse {
        drop(self.body);
        self.response.await.expect("no panic")
    }

    /// The response to a body of which nothing was sent.
    async fn refused(self) {
        let response = self.response.await.expect("no panic");
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.header("retry-after"), Some("1"));
        drop(self.body);
    }
}

/// A gateway with a bucket of bodies of so many bytes, and a worker.
async fn bucket_of(bytes: usize) -> (Gateway, Worker) {
    let settings = StreamSettings::new().bodies_max_bytes(bytes as u64);
    durable_pair_with(|route| route, |builder| builder.stream_settings(settings)).await
}

#[tokio::test]
async fn as_many_bodies_as_fit_the_bucket_are_received_and_the_others_are_refused_at_once() {
    let (gateway, mut worker) = bucket_of(7 * MIB).await;
    let mut clients: Vec<_> = (0..6).map(|_| begin(&gateway, Some(2 * MIB))).collect();
    for client in &clients {
        client.send(MIB / 2);
    }
    let refused = || clients.iter().filter(|client| client.response.is_finished()).count();
    eventually("3 responses", async || refused() == 3).await;
    let (early, running): (Vec<_>, Vec<_>) =
        clients.drain(..).partition(|client| client.response.is_finished());
    for client in early {
        client.refused().await;
    }
    let mut responses = Vec::new();
    for client in running {
        client.send(2 * MIB - MIB / 2);
        responses.push(tokio::spawn(client.end()));
    }
    // The bucket has them until they are done.
    for number in 0..3 {
        let job = worker.job().await;
        if number == 0 {
            begin(&gateway, Some(2 * MIB)).refused().await;
        }
        job.ok("done").await;
    }
    for response in responses {
        assert_eq!(response.await.expect("no panic").body, "done");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_gives_its_room_back() {
    let (gateway, mut worker) = bucket_of(3 * MIB).await;
    for _ in 0..3 {
        let client = soon("an upload", begin_stored(&gateway, &worker)).await;
        client.response.abort();
        eventually("no chunks", async || worker.stored_bodies().await == Some(0)).await;
    }
    let client = soon("an upload", begin_stored(&gateway, &worker)).await;
    client.send(MIB);
    let response = tokio::spawn(client.end());
    worker.job().await.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
}

/// Begins an upload of 2 MiB, and sends the first one. The room of a body whose chunks are deleted is free a little later.
async fn begin_stored(gateway: &Gateway, worker: &Worker) -> Client {
    loop {
        let mut client = begin(gateway, Some(2 * MIB));
        client.send(MIB);
        let chunks = async || worker.stored_bodies().await.is_some_and(|chunks| chunks > 0);
        tokio::select! {
            () = eventually("chunks", chunks) => return client,
            response = &mut client.response => {
                assert_eq!(response.expect("no panic").status, StatusCode::SERVICE_UNAVAILABLE);
            }
        }
    }
}

/// Sends a whole body, and expects that it is accepted.
async fn is_done(gateway: &Gateway, worker: &mut Worker, length: Option<usize>) {
    let client = begin(gateway, length);
    client.send(2 * MIB);
    let response = tokio::spawn(client.end());
    let job = worker.job().await;
    job.delete_body().await;
    job.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
}

#[tokio::test]
async fn clients_that_send_nothing_hold_no_room() {
    let (gateway, mut worker) = bucket_of(3 * MIB).await;
    let silent: Vec<_> = (0..24).map(|_| begin(&gateway, Some(2 * MIB))).collect();
    let hardly: Vec<_> = (0..24).map(|_| begin(&gateway, Some(2 * MIB))).collect();
    for client in &hardly {
        client.send(1);
    }
    is_done(&gateway, &mut worker, Some(2 * MIB)).await;
    is_done(&gateway, &mut worker, None).await;
    assert!(silent.iter().chain(&hardly).all(|client| !client.response.is_finished()));
}

#[tokio::test]
async fn a_client_that_pauses_gives_back_the_room_for_what_has_not_arrived() {
    let (gateway, mut worker) = bucket_of(4 * MIB).await;
    let paused = begin(&gateway, Some(3 * MIB));
    paused.send(MIB / 2);
    eventually("chunks", async || worker.stored_bodies().await.is_some_and(|chunks| chunks > 0)).await;
    eventually("room", async || {
        let client = begin(&gateway, Some(2 * MIB));
        client.send(2 * MIB);
        let response = tokio::spawn(client.end());
        tokio::select! {
            job = worker.job() => {
                job.delete_body().await;
                job.ok("done").await;
                assert_eq!(response.await.expect("no panic").body, "done");
                true
            }
            () = async { while !response.is_finished() { sleep(SECOND / 20).await } } => false,
        }
    })
    .await;
    paused.send(3 * MIB - MIB / 2);
    let response = tokio::spawn(paused.end());
    worker.job().await.ok("late").await;
    assert_eq!(response.await.expect("no panic").body, "late");
}

#[tokio::test]
async fn a_client_that_leaves_while_the_bucket_is_asked_holds_no_room() {
    let (namespace, app) = (new_namespace(), new_app());
    let proxy = Proxy::start(SERVER.port()).await;
    let settings = StreamSettings::new().bodies_max_bytes(3 << 20);
    let builder = durable_builder(proxy.connect().await, &namespace).stream_settings(settings);
    let gateway = builder.route(durable_route(&app)).build().await.expect("a gateway");
    let observer = connect().await;
    let mut worker = Worker::start(observer.clone(), &namespace, &app).await;
    // The bucket is declared.
    is_done(&gateway, &mut worker, None).await;
    let asked = format!("$JS.API.STREAM.INFO.OBJ_{}", namespace.bodies_bucket());
    let mut asked = observer.subscribe(asked).await.expect("a subscription");
    settle(&observer).await;
    proxy.hold();
    let client = begin(&gateway, None);
    client.send(2 * MIB);
    soon("a request", asked.next()).await.expect("a request");
    client.response.abort();
    drop(client);
    proxy.release();
    is_done(&gateway, &mut worker, Some(2 * MIB)).await;
}

#[tokio::test]
async fn a_body_without_a_length_needs_room_for_a_quarter_of_the_bucket() {
    let (gateway, mut worker) = bucket_of(15 * MIB).await;
    let mut clients: Vec<_> = (0..4).map(|_| begin(&gateway, None)).collect();
    for client in &clients {
        client.send(2 * MIB);
    }
    let refused = || clients.iter().position(|client| client.response.is_finished());
    eventually("a response", async || refused().is_some()).await;
    let refused = refused().expect("one");
    clients.remove(refused).refused().await;
    let responses: Vec<_> = clients.into_iter().map(|client| tokio::spawn(client.end())).collect();
    for _ in &responses {
        worker.job().await.ok("done").await;
    }
    for response in responses {
        assert_eq!(response.await.expect("no panic").body, "done");
    }
}

#[tokio::test]
async fn a_bucket_below_the_limit_of_a_body_takes_shorter_ones_without_a_length() {
    let (gateway, mut worker) = bucket_of(3 * MIB).await;
    is_done(&gateway, &mut worker, None).await;
    let client = begin(&gateway, None);
    client.send(2 * MIB);
    client.send(2 * MIB);
    client.refused().await;
    eventually("no chunks", async || worker.stored_bodies().await == Some(0)).await;
    begin(&gateway, Some(4 * MIB)).refused().await;
    is_done(&gateway, &mut worker, None).await;
}

#[tokio::test]
async fn a_body_that_fits_a_message_needs_no_bucket() {
    let settings = StreamSettings::new().bodies_max_bytes(1);
    let (gateway, mut worker) =
        durable_pair_with(|route| route, |builder| builder.stream_settings(settings).body_budget(1 << 20))
            .await;
    // More than half of the budget, and then more than all of it.
    let clients: Vec<_> = (0..12).map(|_| begin(&gateway, None)).collect();
    for client in &clients {
        client.send(100_000);
    }
    let small = begin(&gateway, Some(5_000));
    small.send(4_000);
    small.send(1_000);
    let responses: Vec<_> =
        clients.into_iter().chain([small]).map(|client| tokio::spawn(client.end())).collect();
    for _ in &responses {
        worker.job().await.ok("done").await;
    }
    for response in responses {
        assert_eq!(response.await.expect("no panic").body, "done");
    }
}

#[tokio::test]
async fn clients_that_pause_leave_memory_for_others() {
    for length in [None, Some(MIB / 2), Some(2 * MIB)] {
        let (gateway, mut worker) =
            durable_pair_with(|route| route, |builder| builder.body_budget(1 << 20)).await;
        let paused: Vec<_> = (0..24).map(|_| begin(&gateway, length)).collect();
        for client in &paused {
            client.send(100_000);
        }
        let client = begin(&gateway, Some(3 * MIB));
        client.send(3 * MIB);
        let response = tokio::spawn(client.end());
        worker.job().await.ok("done").await;
        assert_eq!(response.await.expect("no panic").body, "done", "{length:?}");
        assert!(paused.iter().all(|client| !client.response.is_finished()), "{length:?}");
    }
}

#[tokio::test]
async fn a_body_that_gets_no_memory_in_time_is_503() {
    let (namespace, app) = (new_namespace(), new_app());
    let proxy = Proxy::start(SERVER.port()).await;
    let builder = durable_builder(proxy.connect().await, &namespace).body_budget(1 << 20);
    let gateway = builder.route(durable_route(&app).timeout(5 * SECOND)).build().await.expect("a gateway");
    let mut worker = Worker::start(connect().await, &namespace, &app).await;
    let (first, second) = (begin(&gateway, Some(3 * MIB)), begin(&gateway, Some(3 * MIB)));
    for (client, chunks) in [(&second, 2), (&first, 4)] {
        client.send(MIB / 4);
        eventually("chunks", async || worker.stored_bodies().await == Some(chunks)).await;
    }
    // What is sent now is not known to be stored.
    proxy.hold();
    for _ in 0..44 {
        first.send(MIB / 16);
    }
    let first = tokio::spawn(first.end());
    eventually("a response", async || {
        // It does not pause.
        let _ = second.body.unbounded_send(piece(1));
        second.response.is_finished()
    })
    .await;
    let response = second.response.await.expect("no panic");
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.header("retry-after"), Some("1"));
    let text = String::from_utf8_lossy(&response.body).into_owned();
    assert!(text.contains("too many bodies"), "{text}");
    proxy.release();
    worker.job().await.ok("done").await;
    assert_eq!(first.await.expect("no panic").body, "done");
}

/// A body that may break off.
type Drips = StreamBody<BoxStream<'static, Result<Frame<Bytes>, BoxError>>>;

/// The body of a client that sends a byte each 5 s, 20 in all, and then breaks off. Counts the bytes.
fn drip(count: &Arc<AtomicUsize>) -> Request<Drips> {
    let bytes = stream::unfold(count.clone(), |count| async move {
        sleep(5 * SECOND).await;
        let next = match count.fetch_add(1, Ordering::Relaxed) {
            0..20 => Ok(Frame::data(piece(1))),
            _ => Err(BoxError::from("the connection broke off")),
        };
        Some((next, count))
    });
    Request::post("/").body(StreamBody::new(bytes.boxed())).expect("a request")
}

#[tokio::test]
async fn a_client_below_the_least_rate_is_408() {
    for (rate, expected, status) in [
        (1024, 5, StatusCode::REQUEST_TIMEOUT),
        (1, 7, StatusCode::REQUEST_TIMEOUT),
        (0, 21, StatusCode::BAD_REQUEST),
    ] {
        let (gateway, _worker) = durable_pair_with(|route| route, |builder| builder.body_rate(rate)).await;
        let count = Arc::new(AtomicUsize::new(0));
        // Such a body needs no NATS until it is received.
        tokio::time::pause();
        let response = send(&gateway, drip(&count)).await;
        tokio::time::resume();
        assert_eq!((response.status, count.load(Ordering::Relaxed)), (status, expected), "{rate}");
    }
}
