//! The handler that every case runs, and what makes it a slow one.

use std::convert::Infallible;
use std::hint;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use rustix::time::{ClockId, clock_gettime};

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

/// Uses up that much CPU time of this thread, however long it takes.
pub(crate) fn burn(time: Duration) {
    if time.is_zero() {
        return;
    }
    let end = cpu_time() + time;
    while cpu_time() < end {
        for number in 0..1_000_u64 {
            hint::black_box(number);
        }
    }
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}
