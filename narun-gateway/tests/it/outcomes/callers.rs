//! Callers who guess: what others know of a request.

use std::time::Duration;

use http::header::HeaderName;
use http::{Request, Response, StatusCode};
use narun_gateway::{Body, FieldCallerHook, Gateway};

use super::site::{Site, keyed, later, located, route, settings, with};
use crate::harness::{eventually, get, send, spawn};

/// A gateway that separates callers by this field.
async fn separating(site: &Site, hook: FieldCallerHook) -> Gateway {
    site.gateway_with(|builder| builder.route(route()).caller(hook)).await
}

fn from(credentials: Option<&str>, request: Request<Body>) -> Request<Body> {
    match credentials {
        Some(credentials) => with(request, "authorization", credentials),
        None => request,
    }
}

#[tokio::test]
async fn the_same_request_of_another_caller_is_another_request() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let mut consumer = site.consumer().await;
    let mut ids = Vec::new();
    for (credentials, body) in [(Some("Bearer a"), "for a"), (Some("Bearer b"), "for b"), (None, "for all")] {
        let response = spawn(&gateway, from(credentials, keyed("k", "/", "content")));
        let job = consumer.job().await;
        ids.push(job.id());
        job.ok(body).await;
        assert_eq!(response.await.expect("no panic").body, body);
        let again = send(&gateway, from(credentials, keyed("k", "/", "content"))).await;
        assert_eq!(again.body, body);
    }
    ids.dedup();
    assert_eq!((ids.len(), site.accepted().await), (3, 3));
}

#[tokio::test]
async fn only_the_same_credentials_read_an_outcome() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    for request in [later("respond-async"), with(keyed("k", "/", "content"), "prefer", "respond-async")] {
        let accepted = send(&gateway, from(Some("Bearer a"), request)).await;
        let location = accepted.header("location").expect("a location").to_owned();
        for done in [false, true] {
            if done {
                site.consumer().await.job().await.ok("for a").await;
            }
            for other in [None, Some("Bearer b"), Some("bearer a"), Some("")] {
                let status = send(&gateway, from(other, get(&location))).await;
                assert_eq!(status.status, StatusCode::NOT_FOUND, "{other:?}");
                assert_eq!(status.header("cache-control"), Some("no-store"));
            }
            let status = send(&gateway, from(Some("Bearer a"), get(&location))).await;
            let expected = if done { StatusCode::OK } else { StatusCode::ACCEPTED };
            assert_eq!((status.status, status.header("cache-control")), (expected, Some("no-store")));
        }
    }
}

#[tokio::test]
async fn the_outcome_of_a_request_without_credentials_is_only_for_those_without() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let accepted = send(&gateway, later("respond-async")).await;
    let location = accepted.header("location").expect("a location").to_owned();
    assert_eq!(send(&gateway, get(&location)).await.status, StatusCode::ACCEPTED);
    let other = send(&gateway, from(Some("Bearer a"), get(&location))).await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_field_of_choice_separates_callers() {
    let site = Site::new().await;
    let gateway = separating(&site, FieldCallerHook::new(HeaderName::from_static("x-user"))).await;
    let accepted = send(&gateway, with(later("respond-async"), "x-user", "ann")).await;
    let location = accepted.header("location").expect("a location").to_owned();
    let ann = with(from(Some("Bearer new"), get(&location)), "x-user", "ann");
    assert_eq!(send(&gateway, ann).await.status, StatusCode::ACCEPTED);
    assert_eq!(send(&gateway, get(&location)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn without_a_field_all_clients_are_one_caller() {
    let site = Site::new().await;
    let gateway = separating(&site, FieldCallerHook::none()).await;
    let accepted = send(&gateway, from(Some("Bearer a"), later("respond-async"))).await;
    let location = accepted.header("location").expect("a location").to_owned();
    let status = send(&gateway, from(Some("Bearer b"), get(&location))).await;
    assert_eq!(status.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn stored_responses_are_not_cached() {
    let site = Site::new().await;
    let gateway = site.gateway().await;
    let accepted = send(&gateway, with(keyed("k", "/", "content"), "prefer", "respond-async")).await;
    assert_eq!(accepted.header("cache-control"), Some("no-store"));
    let response =
        Response::builder().header("cache-control", "public, max-age=600").body(Body::from("done"));
    site.consumer().await.job().await.done(response.expect("a response")).await;
    let again = send(&gateway, keyed("k", "/", "content")).await;
    assert_eq!((&again.body[..], again.header("cache-control")), (&b"done"[..], Some("no-store")));
    let status = send(&gateway, get(accepted.header("location").expect("a location"))).await;
    assert_eq!((&status.body[..], status.header("cache-control")), (&b"done"[..], Some("no-store")));
}

#[tokio::test]
async fn gateways_that_start_later_derive_the_same_ids() {
    let site = Site::new().await;
    let request = || with(keyed("k", "/", "content"), "prefer", "respond-async");
    let first = site.gateway().await;
    let id = located(&send(&first, request()).await);
    drop(first);
    let (second, third) = (site.gateway().await, site.gateway().await);
    for gateway in [&second, &third] {
        assert_eq!(located(&send(gateway, request()).await), id);
    }
    // Somebody who knows all but the secret cannot compute it.
    let elsewhere = Site::new().await;
    assert_ne!(elsewhere.id("k", None).await, site.id("k", None).await);
    assert_eq!(site.accepted().await, 1);
}

/// The route needs no outcomes before the first key.
#[tokio::test]
async fn a_gateway_keeps_the_secret_from_its_first_key_on() {
    let settings = settings().duplicate_window(Duration::from_secs(1)).outcome_ttl(Duration::from_secs(2));
    let site = Site::with(settings).await;
    let gateway = site.gateway().await;
    let mut consumer = site.consumer().await;
    let response = spawn(&gateway, keyed("k", "/", "content"));
    consumer.job().await.ok("done").await;
    assert_eq!(response.await.expect("no panic").body, "done");
    let id = site.id("k", None).await;
    for has_bad_stream in [false, true] {
        if has_bad_stream {
            site.spoil_stream().await;
        }
        site.delete_secret().await;
        eventually("the secret", async || site.has_secret().await).await;
        assert_eq!(site.id("k", None).await, id);
    }
}
