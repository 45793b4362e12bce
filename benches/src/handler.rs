//! The handler that every case runs.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};

/// Answers with the request's body, or 400 if it did not arrive whole.
pub(crate) async fn echo<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: Body,
{
    let (status, body) = match request.into_body().collect().await {
        Ok(body) => (StatusCode::OK, body.to_bytes()),
        Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    Ok(response)
}
