//! How long calls may take.

use std::time::Duration;

use futures::StreamExt;
use narun_gateway::Route;
use tonic::{Code, Request, Response, Status, Streaming};

use super::Site;
use super::service::*;
use crate::harness::{eventually, soon};

/// Shorter than anything takes here.
const SHORT: Duration = Duration::from_millis(200);

/// One of these is long enough for the head of a response, on any machine, and shorter than the rest takes.
const LIMITS: [Duration; 3] = [SHORT, Duration::from_secs(2), Duration::from_secs(20)];

/// Two messages, the second one after this.
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

    // tonic's own channel keeps to the limit as well, and is no slower or faster.
    let mut request = Request::new(());
    request.set_timeout(SHORT);
    let mut client = site.client().await;
    let status = soon("a status", client.unary::<_, ()>(SLEEP, request)).await.expect_err("a status");
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    eventually("a dropped handler", async || site.service.over() == site.service.begun()).await;
}

/// Asks for a message at once and one much later; the status that ends it, and whether the first one came.
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
async fn a_response_that_has_begun_ends_with_a_status_too() {
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
async fn a_deadline_that_has_passed_is_not_sent_anywhere() {
    let site = Site::start().await;
    let mut request = Request::new(());
    request.metadata_mut().insert("grpc-timeout", "0n".parse().expect("text"));
    let status = site.patient().unary::<_, ()>(SLEEP, request).await.expect_err("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(site.service.begun(), 0);
}

#[tokio::test]
async fn without_a_deadline_the_head_may_take_as_long_as_it_likes() {
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
async fn a_route_may_limit_calls_that_do_not_limit_themselves() {
    let route = |app: &str| Route::grpc(NAME, app).timeout(SHORT);
    let site = Site::start_with(|builder, app| builder.route(route(app)), |routes| routes).await;
    let mut client = site.patient();
    let status =
        soon("a status", client.unary::<_, ()>(SLEEP, Request::new(()))).await.expect_err("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");

    // This one does, and may take longer.
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
async fn a_route_limits_even_the_patient() {
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
async fn a_limit_that_is_none_is_the_handlers_affair() {
    let site = Site::start().await;
    let mut request = Request::new(());
    request.metadata_mut().insert("grpc-timeout", "soon".parse().expect("text"));
    let _: Response<()> = site.patient().unary(EMPTY, request).await.expect("a response");
}
