//! gRPC-Web, as browsers use it: HTTP/1.1, with trailers in the content.

use std::net::SocketAddr;

use narun_gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::service::Routes;
use tonic::{Request, Response};
use tonic_web::GrpcWebLayer;
use tower::ServiceBuilder;

use super::service::*;
use super::{Site, listen};
use crate::harness::{connect, new_app, soon, start};

/// An empty message, and a request with it.
const MESSAGE: &[u8] = &[0; 5];
const REQUEST: &str = "POST /grpc.testing.TestService/EmptyCall HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                       content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\ncontent-length: 5\r\n\r\n";

/// Sends the request, and returns the response's head and content.
async fn call(address: SocketAddr) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&[REQUEST.as_bytes(), MESSAGE].concat()).await.expect("sent");
    let mut bytes = Vec::new();
    soon("a response", stream.read_to_end(&mut bytes)).await.expect("received");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let content = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).expect("text").to_lowercase();
    let is_chunked = head.contains("transfer-encoding: chunked");
    (head, if is_chunked { joined(&content) } else { content })
}

fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let line = chunks.windows(2).position(|window| window == b"\r\n").expect("a length");
        let length = std::str::from_utf8(&chunks[..line]).expect("text");
        let length = usize::from_str_radix(length, 16).expect("a number");
        if length == 0 {
            return content;
        }
        content.extend_from_slice(&chunks[line + 2..][..length]);
        chunks = &chunks[line + 2 + length + 2..];
    }
}

fn check((head, content): &(String, Vec<u8>)) {
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/grpc-web+proto\r\n"), "{head}");
    let (message, trailers) = content.split_at_checked(MESSAGE.len()).expect("a message");
    assert_eq!(message, MESSAGE);
    let (frame, trailers) = trailers.split_at_checked(5).expect("trailers");
    assert_eq!(frame, [&[0x80][..], &(trailers.len() as u32).to_be_bytes()].concat());
    assert!(trailers.starts_with(b"grpc-status:0\r\n"), "{trailers:?}");
}

#[tokio::test]
async fn the_consumer_can_translate_grpc_web() {
    let web = |routes| ServiceBuilder::new().layer(GrpcWebLayer::new()).service(routes);
    let site = Site::start_with(|builder, app| builder.grpc(NAME, app), web).await;
    check(&call(site.address).await);
    // Plain gRPC is not changed.
    let _: Response<()> = site.client().await.unary(EMPTY, Request::new(())).await.expect("a response");
}

#[tokio::test]
async fn the_http_server_can_translate_grpc_web() {
    let app = new_app();
    let routes = Routes::new(TestService::default());
    let consumer = start(&app, narun_consumer::serve(connect().await, app.as_str(), routes)).await;
    let gateway = Gateway::builder(connect().await).grpc(NAME, &app).build().await.expect("a gateway");
    let service = ServiceBuilder::new().layer(GrpcWebLayer::new()).service(gateway.service());
    let (address, http) = listen(service).await;
    check(&call(address).await);
    http.abort();
    consumer.abort();
}
