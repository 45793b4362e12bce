//! Idempotency keys and status resources of other callers.

use super::raw::{RawResponse, Received, get, post};
use super::report::Report;
use super::site::Site;
use crate::Error;

pub(super) async fn send(site: &Site, report: &mut Report) -> Result<(), Error> {
    let to = site.gateway();
    let keyed =
        |caller: &str, key: &str| format!("Authorization: {caller}\r\nIdempotency-Key: \"{key}\"\r\n");
    let first = post(to, "/jobs/x", &keyed("Bearer one", "guess"), "body").await;
    report.status("keys: a request with a key", 200, &first);
    let run = first.as_ref().ok().and_then(|response| response.described("run"));
    report.holds(
        "keys: the same request and key again",
        "the same response",
        &post(to, "/jobs/x", &keyed("Bearer one", "guess"), "body").await,
        |response| response.described("run") == run,
    );
    for (name, fields) in [
        ("by another caller", keyed("Bearer other", "guess")),
        ("by an anonymous caller", "Idempotency-Key: \"guess\"\r\n".to_owned()),
    ] {
        report.holds(
            format!("keys: the same request and key {name}"),
            "another response",
            &post(to, "/jobs/x", &fields, "body").await,
            |response| response.status == 200 && response.described("run") != run,
        );
    }
    report.status(
        "keys: another request with the same key",
        422,
        &post(to, "/jobs/x", &keyed("Bearer one", "guess"), "other").await,
    );

    let mine = "Authorization: Bearer one\r\n";
    let accepted = post(to, "/jobs/x", &format!("{mine}Prefer: respond-async\r\n"), "body").await;
    status_resource(site, report, "without a key", &accepted).await;
    let accepted =
        post(to, "/jobs/x", &format!("{}Prefer: respond-async\r\n", keyed("Bearer one", "later")), "b").await;
    status_resource(site, report, "with a key", &accepted).await;
    report.status(
        "keys: a status resource that does not exist",
        404,
        &get(to, "/.narun/requests/aaaaaaaaaaaaaaaaaaaaaaaaaa").await,
    );

    // An id that follows from the request alone would be the same everywhere.
    let other = Site::start().await?;
    let again = post(
        other.gateway(),
        "/jobs/x",
        &format!("{}Prefer: respond-async\r\n", keyed("Bearer one", "later")),
        "b",
    )
    .await;
    let (one, two) = (location(&accepted), location(&again));
    let differ = one.is_some() && two.is_some() && one != two;
    report.line(
        "keys: the id of a key, on two installations",
        "two ids",
        format!("{one:?}, {two:?}"),
        differ,
    );
    Ok(())
}

async fn status_resource(site: &Site, report: &mut Report, name: &str, accepted: &Received) {
    report.status(format!("keys: 202 {name}"), 202, accepted);
    let Some(path) = location(accepted) else { return };
    let mine = done(site, &path, "Bearer one").await;
    report.status(format!("keys: the outcome {name}, for its caller"), 200, &mine);
    report.holds(
        format!("keys: the outcome {name} may not be cached"),
        "Cache-Control: no-store",
        &mine,
        |response| response.field("cache-control").is_some_and(|value| value.contains("no-store")),
    );
    let other = request_as(site, &path, "Bearer other").await;
    report.status(format!("keys: the outcome {name}, for another caller"), 404, &other);
    for (status, received) in [("200", &mine), ("404", &other)] {
        report.holds(
            format!("keys: X-Request-Id of the outcome {name}, a {status}"),
            "it is there",
            received,
            |response| response.field("x-request-id").is_some_and(|id| !id.is_empty()),
        );
    }
    report.status(
        format!("keys: the outcome {name}, for an anonymous caller"),
        404,
        &get(site.gateway(), &path).await,
    );
}

/// Waits until a status resource has the outcome.
pub(super) async fn done(site: &Site, path: &str, caller: &str) -> Received {
    for _ in 0..500 {
        match request_as(site, path, caller).await {
            Ok(RawResponse { status: 202, .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await
            }
            received => return received,
        }
    }
    Err("it is still pending".to_owned())
}

async fn request_as(site: &Site, path: &str, caller: &str) -> Received {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nAuthorization: {caller}\r\n\r\n");
    super::raw::exchange(site.gateway(), request).await
}

/// The path of a response's `Location`.
pub(super) fn location(received: &Received) -> Option<String> {
    let location = received.as_ref().ok()?.field("location")?;
    Some(match location.strip_prefix("http://") {
        Some(rest) => rest[rest.find('/')?..].to_owned(),
        None => location.to_owned(),
    })
}
