//! HTTP/2 with prior knowledge.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time;

use super::raw::{LIMIT, RawResponse, Received};
use crate::Error;

/// Sends a request over a connection of its own.
pub(super) async fn exchange(
    to: SocketAddr,
    uri: &str,
    fields: &[(&str, &str)],
    body: &'static str,
) -> Received {
    let mut request = Request::post(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from_static(body.as_bytes())).map_err(Error::from).boxed());
    send(to, request.map_err(|error| error.to_string())?).await
}

/// Sends a request whose body has this beginning, and then pauses for ever.
pub(super) async fn pause(to: SocketAddr, uri: &str, beginning: &'static str) -> Received {
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(beginning.as_bytes())))]);
    let body = StreamBody::new(futures::StreamExt::chain(first, stream::pending::<Result<_, Error>>()));
    let request = Request::post(uri).body(BoxBody::new(body));
    send(to, request.map_err(|error| error.to_string())?).await
}

async fn send(to: SocketAddr, request: Request<BoxBody<Bytes, Error>>) -> Received {
    let exchange = async {
        let stream = TcpStream::connect(to).await?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let response = read(response).await;
        connection.abort();
        response
    };
    match time::timeout(LIMIT + Duration::from_secs(5), exchange).await {
        Ok(received) => received.map_err(|error: Error| crate::text(&error)),
        Err(_) => Err(format!("no response within {LIMIT:?}")),
    }
}

async fn read(response: Response<Incoming>) -> Result<RawResponse, Error> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes().to_vec();
    Ok(RawResponse::new(status, body))
}
