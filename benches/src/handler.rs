//! The handler that every case runs, and a way to make it slow.

use std::convert::Infallible;
use std::hint;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use rustix::time::{ClockId, clock_gettime};

/// Responds with the request's body, or with 400 if the body broke off.
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

/// Uses up this much CPU time of the current thread, however long that takes.
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
