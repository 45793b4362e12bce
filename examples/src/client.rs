//! An HTTP client that makes one request.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// Sends a request, and receives the whole response.
///
/// # Errors
///
/// If there is no response, or it breaks off.
pub async fn send(
    server: SocketAddr,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> anyhow::Result<Response<Bytes>> {
    let request =
        Request::builder().method(method).uri(format!("http://{server}{path}")).body(body.into())?;
    send_request(request).await
}

/// Sends a request with an absolute URI, and receives the whole response.
///
/// # Errors
///
/// If there is no response, or it breaks off.
pub async fn send_request(request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (parts, body) = client.request(request.map(Full::new)).await?.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}
