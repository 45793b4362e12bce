//! Time limits of calls.

use std::time::Duration;

use futures::StreamExt;
use narun_gateway::Route;
use tonic::{Code, Request, Response, Status, Streaming};

use super::Site;
use super::service::*;
use crate::harness::{eventually, soon};

/// Shorter than any call here takes.
const SHORT: Duration = Duration::from_millis(200);

/// At least one of these is long enough for a response's head, on any machine. All are shorter than the whole call.
const LIMITS: [Duration; 3] = [SHORT, Duration::from_secs(2), Duration::from_secs(20)];

/// The interval between the two messages of a response.
fn slowly(pause: Duration) -> OutputRequest {
    let interval_us = i32::try_from(pause.as_micros()).expect("not that long");
    let response_parameters = [0, interval_us].map(|interval_us| ResponseParameters { size: 9, interval_us });
    OutputRequest { response_parameters: response_parameters.to_vec(), ..OutputRequest::default() }
}

#[tokio::test]
async fn timeout_on_sleeping_server() {
    let site = Site::start().await;
    let mut request = Request::new(());
    request.set_timeout(SHORT);
    let status = soon("a status", site.patient().unary::<_, ()>(SLEEP, request)).await.expect_err("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    eventually("a dropped handler", async || site.service.over() == 1).await;

    // tonic's own channel applies the limit as well, and may be faster or slower.
    let mut request = Request::new(());
    request.set_timeout(SHORT);
    let mut client = site.client().await;
    let status = soon("a status", client.unary::<_, ()>(SLEEP, request)).await.expect_err("a status");
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    eventually("a dropped handler", async || site.service.over() == site.service.begun()).await;
}

/// Requests a message at once and one much later. Returns the final status, and whether the first message arrived.
async fn ended(site: &Site, limit: Duration) -> (Status, bool) {
    let mut request = Request::new(slowly(Duration::from_secs(600)));
    request.set_timeout(limit);
    let called: Result<Response<Streaming<OutputResponse>>, _> =
        soon("a response", site.patient().server_streaming(OUTPUT, request)).await;
    let mut responses = match called {
        Ok(response) => response.into_inner(),
        Err(status) => return (status, false),
    };
    let first = soon("a message", responses.message()).await;
    match first {
        Ok(first) => assert!(first.is_some()),
        Err(status) => return (status, false),
    }
    (soon("a status", responses.message()).await.expect_err("a status"), true)
}

#[tokio::test]
async fn a_response_that_times_out_ends_with_a_status() {
    let site = Site::start().await;
    for limit in LIMITS {
        let (status, has_begun) = ended(&site, limit).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        eventually("a dropped handler", async || site.service.over() == site.service.begun()).await;
        if has_begun {
            return;
        }
    }
    panic!("no response has begun");
}

#[tokio::test]
async fn a_call_with_an_elapsed_deadline_is_not_sent() {
    let site = Site::start().await;
    let mut request = Request::new(());
    request.metadata_mut().insert("grpc-timeout", "0n".parse().expect("text"));
    let status = site.patient().unary::<_, ()>(SLEEP, request).await.expect_err("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(site.service.begun(), 0);
}

#[tokio::test]
async fn a_call_without_a_deadline_has_no_time_limit() {
    let site = Site::start_with(|builder, app| builder.timeout(SHORT).grpc(NAME, app), |routes| routes).await;
    let requests = futures::stream::iter([3, 4])
        .then(async |size| {
            tokio::time::sleep(2 * SHORT).await;
            InputRequest { payload: Some(zeros(size)) }
        })
        .boxed();
    let response: Response<InputResponse> =
        site.client().await.client_streaming(INPUT, Request::new(requests)).await.expect("a response");
    assert_eq!(response.into_inner().aggregated_payload_size, 7);
}

#[tokio::test]
async fn a_routes_timeout_applies_to_calls_without_a_deadline() {
    let route = |app: &str| Route::grpc(NAME, app).timeout(SHORT);
    let site = Site::start_with(|builder, app| builder.route(route(app)), |routes| routes).await;
    let mut client = site.patient();
    let status =
        soon("a status", client.unary::<_, ()>(SLEEP, Request::new(()))).await.expect_err("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");

    // This call has a deadline of its own, and may take longer.
    let requests = futures::stream::once(async {
        tokio::time::sleep(2 * SHORT).await;
        InputRequest { payload: Some(zeros(5)) }
    });
    let mut request = Request::new(requests.boxed());
    request.set_timeout(Duration::from_secs(600));
    let response: Response<InputResponse> =
        client.client_streaming(INPUT, request).await.expect("a response");
    assert_eq!(response.into_inner().aggregated_payload_size, 5);
}

#[tokio::test]
async fn a_routes_total_timeout_applies_to_calls_with_a_long_deadline() {
    for limit in LIMITS {
        let route = |app: &str| Route::grpc(NAME, app).total_timeout(limit);
        let site = Site::start_with(|builder, app| builder.route(route(app)), |routes| routes).await;
        let (status, has_begun) = ended(&site, Duration::from_secs(600)).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        if has_begun {
            return;
        }
    }
    panic!("no response has begun");
}

#[tokio::test]
async fn an_invalid_deadline_is_passed_to_the_handler() {
    let site = Site::start().await;
    let mut request = Request::new(());
    request.metadata_mut().insert("grpc-timeout", "soon".parse().expect("text"));
    let _: Response<()> = site.patient().unary(EMPTY, request).await.expect("a response");
}
