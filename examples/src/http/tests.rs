use std::net::Ipv4Addr;

use http::StatusCode;
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::*;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(600);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A server whose handler waits until it may respond.
struct TestServer {
    address: SocketAddr,
    may_respond: Arc<Notify>,
    task: AbortHandle,
}

impl TestServer {
    async fn start(limits: HttpLimits) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let may_respond = Arc::new(Notify::new());
        let wait = may_respond.clone();
        let service = tower::service_fn(move |_: Request<Incoming>| {
            let wait = wait.clone();
            async move {
                wait.notified().await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
            }
        });
        let served = serve_with(limits, listener, service, std::future::pending());
        Self { address, may_respond, task: tokio::spawn(served).abort_handle() }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Sends a request and reads the response to it.
    async fn request(&self, stream: &mut TcpStream) {
        stream.write_all(REQUEST).await.expect("the connection is open");
        self.may_respond.notify_one();
        read_response(stream).await;
    }

    /// Waits until an unused connection is closed.
    async fn unused(&self) {
        closed(&mut self.connect().await).await;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_response(stream: &mut TcpStream) {
    let mut response = Vec::new();
    while !response.ends_with(b"done") {
        response.push(stream.read_u8().await.expect("a response"));
    }
    assert!(response.starts_with(b"HTTP/1.1 200"));
}

/// Waits until the server has closed the connection without a response.
async fn closed(stream: &mut TcpStream) {
    let mut byte = [0];
    assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
}

fn limits(keep_alive: Duration, head: Duration) -> HttpLimits {
    HttpLimits { keep_alive, head, ..HttpLimits::default() }
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let server = TestServer::start(limits(LONG, SHORT)).await;
    server.unused().await;
}

#[tokio::test]
async fn a_head_that_drips_closes_the_connection() {
    let server = TestServer::start(limits(LONG, SHORT)).await;
    for requests in [0, 1] {
        let mut stream = server.connect().await;
        for _ in 0..requests {
            server.request(&mut stream).await;
        }
        stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
        while stream.write_all(b"a: b\r\n").await.is_ok() {
            let next = tokio::time::timeout(Duration::from_millis(10), stream.readable()).await;
            if next.is_ok() {
                break;
            }
        }
        closed(&mut stream).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_kept_alive_and_then_closed() {
    let server = TestServer::start(limits(LONG, SHORT)).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        server.request(&mut stream).await;
        // It is idle for longer than a head may take.
        server.unused().await;
    }
    let server = TestServer::start(limits(SHORT, LONG)).await;
    let mut stream = server.connect().await;
    server.request(&mut stream).await;
    closed(&mut stream).await;
}

#[tokio::test]
async fn a_request_may_take_longer() {
    let server = TestServer::start(limits(SHORT, SHORT)).await;
    let mut stream = server.connect().await;
    stream.write_all(REQUEST).await.expect("sent");
    server.unused().await;
    server.unused().await;
    server.may_respond.notify_one();
    read_response(&mut stream).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let server = TestServer::start(HttpLimits { connections: 1, ..limits(LONG, LONG) }).await;
    let mut first = server.connect().await;
    server.request(&mut first).await;
    let mut second = server.connect().await;
    second.write_all(REQUEST).await.expect("sent");
    server.may_respond.notify_one();
    let response = read_response(&mut second);
    tokio::pin!(response);
    assert!(tokio::time::timeout(SHORT, &mut response).await.is_err());
    drop(first);
    response.await;
}

#[tokio::test]
async fn http2_connections_have_limits_too() {
    let server = TestServer::start(HttpLimits { streams: 7, ..limits(SHORT, LONG) }).await;
    let (client, connection) = h2::client::handshake(server.connect().await).await.expect("a connection");
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.expect("a stream");
    let request = Request::get("http://x/").body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("a request");
    server.may_respond.notify_one();
    let response = response.await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(client.current_max_send_streams(), 7);
    assert!(response.into_body().data().await.is_some());
    // Idle, it is closed.
    let _ = connection.await.expect("no panic");

    let server = TestServer::start(limits(LONG, SHORT)).await;
    let (_client, connection) = h2::client::handshake(server.connect().await).await.expect("a connection");
    let _ = connection.await;
}
