//! Invalid messages, clients that stop, and invalid settings.

use std::convert::Infallible;

use async_nats::Subject;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Request, Response};
use narun_consumer::{Body, ServeError, serve};
use narun_core::frame::{Frame, ObjectRef, Refusal, VERSIONS};
use tower::service_fn;

use crate::gateway::{ManualGateway, encode, get, head};
use crate::harness::{Metrics, SERVER, connect, eventually, new_app, settle, soon, start, subject};
use narun_support::testing::poison;

async fn hello(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from("hello")))
}

#[tokio::test]
async fn invalid_messages_are_refused() {
    const JUNK: usize = 2000;
    let metrics = Metrics::install();
    let app = new_app();
    let consumer = start(&app, serve(connect().await, app.as_str(), service_fn(hello))).await;
    let refused = || metrics.value("http_consumer_refused_total", &[("app", &app), ("reason", "bad_frame")]);
    let discarded = || metrics.value("http_consumer_discarded_total", &[("reason", "foreign_reply")]);
    let (refused_before, discarded_before) = (refused(), discarded());
    let manual = ManualGateway::new(&app).await;
    let mut exchange = manual.send_raw(Bytes::from_static(b"\x00")).await;

    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    // Half of the messages have an allowed reply subject.
    for number in 1..JUNK {
        let payload: Bytes = (0..number % 300).map(|_| byte()).collect();
        assert!(Frame::decode(&payload, &Default::default()).is_err());
        match number % 2 {
            0 => {
                let reply = exchange.token.clone();
                manual
                    .client()
                    .publish_with_reply(subject(&app), reply, payload)
                    .await
                    .expect("a message sent");
            }
            _ => manual.client().publish(subject(&app), payload).await.expect("a message sent"),
        }
    }
    for _ in 0..JUNK / 2 {
        let (frame, reply) = exchange.frame().await;
        let Frame::Refused(refused) = frame else { panic!("{frame:?}") };
        assert!(matches!(refused.reason, Refusal::BadFrame | Refusal::Overloaded), "{refused:?}");
        assert_eq!(reply, None);
    }
    assert_eq!(discarded() - discarded_before, (JUNK / 2) as f64);
    let overloaded = metrics.value("http_consumer_refused_total", &[("app", &app), ("reason", "overloaded")]);
    assert_eq!(refused() - refused_before + overloaded, (JUNK / 2) as f64);
    assert_eq!(manual.get("/").await.response().await.body, "hello");
    assert!(!consumer.is_finished());
}

#[tokio::test]
async fn frames_other_than_requests_are_refused() {
    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), service_fn(hello))).await;
    let manual = ManualGateway::new(&app).await;
    let mut elsewhere = head();
    elsewhere.object = Some(Box::new(ObjectRef {
        bucket: "TASK-bodies".to_owned(),
        name: "body".to_owned(),
        size: 1,
        digest: [0; 32],
    }));
    let credit = narun_core::frame::Credit::default().encode();
    for payload in [credit, encode(&elsewhere, get("/")).await] {
        let (frame, _) = manual.send_raw(payload).await.frame().await;
        let Frame::Refused(refused) = frame else { panic!("{frame:?}") };
        assert_eq!(refused.reason, Refusal::BadFrame);
    }
}

#[tokio::test]
async fn an_unknown_version_is_refused_with_the_known_ones() {
    let metrics = Metrics::install();
    let app = new_app();
    start(&app, serve(connect().await, app.as_str(), service_fn(hello))).await;
    let manual = ManualGateway::new(&app).await;
    let mut unknown = head();
    unknown.version = 4711;
    let (frame, _) = manual.send(unknown, get("/")).await.frame().await;
    let Frame::Refused(refused) = frame else { panic!("{frame:?}") };
    assert_eq!(refused.reason, Refusal::Version);
    assert_eq!(refused.versions, VERSIONS);
    assert_eq!(metrics.value("http_consumer_refused_total", &[("app", &app), ("reason", "version")]), 1.0);
}

#[tokio::test]
async fn a_request_that_names_a_foreign_reply_is_dropped() {
    let metrics = Metrics::install();
    let app = new_app();
    let handled = || metrics.value("http_consumer_requests_total", &[]);
    start(&app, serve(connect().await, app.as_str(), service_fn(hello))).await;
    let manual = ManualGateway::new(&app).await;
    let request = encode(&head(), get("/")).await;
    let foreign = format!("foreign.{app}");
    let mut messages = manual.client().subscribe(foreign.clone()).await.expect("a subscription");
    let replies = [foreign, subject(&app), "$JS.API.INFO".to_owned(), "_INBOXES.a".to_owned()];
    for reply in &replies {
        for payload in [request.clone(), Bytes::from_static(b"junk")] {
            let reply = Subject::from(reply.as_str());
            manual.client().publish_with_reply(subject(&app), reply, payload).await.expect("a message sent");
        }
    }
    eventually("foreign replies counted", async || {
        metrics.value("http_consumer_discarded_total", &[("reason", "foreign_reply")]) == 8.0
    })
    .await;
    assert_eq!(manual.get("/").await.response().await.body, "hello");
    assert_eq!(handled(), 1.0);
    settle(manual.client()).await;
    assert!(messages.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_client_that_stops_for_good_ends_the_consumer() {
    for inbox in [false, true] {
        let app = new_app();
        let client = connect().await;
        let service = service_fn(async |_: Request<Body>| {
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let consumer = start(&app, serve(client.clone(), app.as_str(), service)).await;
        let target = match inbox {
            false => subject(&app),
            true => ManualGateway::new(&app).await.get("/").await.working().await.to_string(),
        };
        poison(SERVER.port(), &target).await;
        let ended = soon("the consumer's end", consumer).await.expect("no panic");
        assert!(matches!(ended, Err(ServeError::ClientLost)), "{ended:?}");
        // Starting again with the same client fails as well.
        let again = soon("an error", serve(client, app, service_fn(hello)).into_future()).await;
        assert!(matches!(again, Err(ServeError::ClientLost)), "{again:?}");
    }
}

#[tokio::test]
async fn invalid_settings_are_errors() {
    let client = connect().await;
    let name = serve(client.clone(), "not.a.name", service_fn(hello)).await;
    assert!(matches!(name, Err(ServeError::Name(_))), "{name:?}");
    for (window, budget) in [(1024, 1 << 20), (1 << 30, 1 << 31), (1 << 20, 1 << 19)] {
        let streams = serve(client.clone(), "app", service_fn(hello)).window(window).budget(budget).await;
        assert!(matches!(streams, Err(ServeError::Setting(_))), "{streams:?}");
    }
    let namespace = serve(client.clone(), "app", service_fn(hello)).namespace("").await;
    assert!(matches!(namespace, Err(ServeError::Name(_))), "{namespace:?}");
    let concurrency = serve(client, "app", service_fn(hello)).concurrency(0).await;
    assert!(matches!(concurrency, Err(ServeError::Setting(_))), "{concurrency:?}");
}
