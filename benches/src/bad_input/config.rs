//! Configurations with mistakes, and credentials that are wrong.

use std::time::Duration;

use async_nats::ConnectOptions;
use futures::StreamExt;
use http::{Request, Response};
use narun_consumer::{Body, NatsAccess};
use narun_support::Server;
use tokio::task::block_in_place;
use tokio::time::{self, Instant};
use tower::service_fn;

use super::frames::bytes::{END, RESPONSE, frame, number};
use super::raw::{LIMIT, get};
use super::report::Report;
use super::site::{Example, Site};
use crate::Error;

/// A server with a user who may do all, one who may not publish to one of two apps, and one who may not subscribe.
const USERS: &str = r#"
authorization {
  users = [
    { user: all, password: right }
    { user: mute, password: right, permissions: { publish: { deny: ["call.TASK.mute"] } } }
    { user: deaf, password: right, permissions: { subscribe: { deny: [">"] } } }
  ]
}
"#;

/// Lines of a configuration, names for the report, and a part of the error.
const MISTAKES: [(&str, &str, &str); 10] = [
    ("routes:\n- { path: \"/a/:id\", app: a }\n", "a path of another syntax, /a/:id", "{id}"),
    ("routes:\n- { path: \"/b/*\", app: a }\n", "a path of another syntax, /b/*", "path"),
    ("routes:\n- { path: \"/a/../b\", app: a }\n", "a path that clients resolve, /a/../b", "path"),
    ("routes:\n- { path: \"/é\", app: a }\n", "a path that no client sends, /é", "%C3%A9"),
    ("routes:\n- { path: \"/a\", app: \"a.b\" }\n", "an app that is no name", "app"),
    ("routes:\n- { path: \"/a\", app: a, timeout: 1 }\n", "an unknown key", "timeout"),
    ("routes:\n- { path: \"/a\", app: \"${NARUN_UNSET}\" }\n", "an unset variable", "NARUN_UNSET"),
    ("routes:\n- { path: \"/a\", app: \"${NARUN_UNSET-a}\" }\n", "a default of another syntax, ${A-b}", "${"),
    ("nats_stream: \"a b\"\n", "a stream that is no name", "nats_stream"),
    ("request_timeout_seconds: -1\n", "a negative timeout", "request_timeout_seconds"),
];

pub(super) async fn send(site: &Site, report: &mut Report) -> Result<(), Error> {
    let url = site.nats().url();
    for (lines, name, part) in MISTAKES {
        let started = Example::start(url, lines);
        let good = started.as_ref().is_err_and(|error| error.to_string().contains(part));
        report.line(format!("config: {name}"), format_args!("an error with {part:?}"), got(&started), good);
    }
    let bom =
        format!("\u{feff}nats_url: \"{url}\"\nserver_addr: \"127.0.0.1:0\"\nmetrics_addr: \"127.0.0.1:0\"\n");
    let started = Example::of(bom.as_bytes());
    report.line("config: a byte order mark", "ready", got(&started), started.is_ok());
    drop(started);
    let route = "routes:\n- { path: \"/${NARUN_UNSET:-given}\", app: nobody, delivery: direct }\n";
    let gateway = Example::start(url, route)?;
    let given = get(gateway.address()?, "/given").await;
    report.status("config: a path /${NARUN_UNSET:-given}, without a consumer", 503, &given);
    drop(gateway);

    let locked = block_in_place(|| Server::builder().config(USERS).start())?;
    let at = |user: &str| format!("nats://{user}@127.0.0.1:{}", locked.port());
    for (name, user) in [("a wrong password", "all:wrong"), ("an unknown user", "nobody:right")] {
        let started = Example::start(&at(user), "");
        let got = got(&started);
        report.line(format!("config: {name} in the URL"), "an error at start", &got, got != "ready");
    }
    let started = Example::start(&at("all:right"), "");
    report.line("config: the right password in the URL", "ready", got(&started), started.is_ok());
    drop(started);

    let (status, took) =
        mute(&locked, &at("mute:right")).await.unwrap_or_else(|error| (crate::text(&error), LIMIT));
    let good = status == "503" && took.as_secs() < 5;
    report.line(
        "config: a user who may not publish",
        "503 at once",
        format_args!("{status} after {took:.1?}"),
        good,
    );
    let route = "routes:\n- { path: \"/a\", app: app }\n";
    let gateway = got(&Example::start(&at("deaf:right"), route));
    for (name, got) in [("gateway", gateway), ("consumer", deaf(&at("deaf:right")).await?)] {
        let good = got.contains("subscri") && got.contains("_INBOX");
        report.line(format!("config: a {name} that may not subscribe"), "an error that says so", &got, good);
    }
    Ok(())
}

/// Why a consumer that may not subscribe does not start.
async fn deaf(url: &str) -> Result<String, Error> {
    let client = NatsAccess::default().connect(url).await?;
    let handler = service_fn(async |_: Request<Body>| Ok::<_, Error>(Response::new(Body::empty())));
    let served = time::timeout(LIMIT, narun_consumer::serve(client, "app", handler).into_future()).await;
    Ok(match served {
        Ok(Ok(())) => "ended without an error".to_owned(),
        Ok(Err(error)) => crate::text(&error.into()),
        Err(_) => format!("no end within {LIMIT:?}"),
    })
}

/// Makes a request whose publication the server does not permit, which is known at once, not when the request times out.
async fn mute(locked: &Server, user: &str) -> Result<(String, Duration), Error> {
    // Both apps have a consumer.
    let options = ConnectOptions::with_user_and_password("all".to_owned(), "right".to_owned());
    let client = options.connect(locked.url()).await?;
    let mut requests = client.subscribe("call.TASK.*").await?;
    client.flush().await?;
    let consumer = tokio::spawn(async move {
        let response = frame(RESPONSE, &[END, &number(8, 200)], b"");
        while let Some(request) = requests.next().await {
            if let Some(reply) = request.reply {
                let _ = client.publish(reply, response.clone().into()).await;
            }
        }
    });
    let routes = "routes:\n- { path: \"/free\", app: free }\n- { path: \"/mute\", app: mute }\n";
    let gateway = Example::start(user, routes)?;
    let to = gateway.address()?;
    // It may be ready before it is connected.
    let deadline = Instant::now() + LIMIT;
    while !get(to, "/free").await.is_ok_and(|response| response.status == 200) {
        if Instant::now() > deadline {
            return Err(format!("a gateway of {} does not serve", locked.port()).into());
        }
        time::sleep(Duration::from_millis(20)).await;
    }
    let start = Instant::now();
    let response = get(to, "/mute").await;
    consumer.abort();
    let status = response.map_or_else(|error| error, |response| response.status.to_string());
    Ok((status, start.elapsed()))
}

fn got(started: &Result<Example, Error>) -> String {
    match started {
        Ok(_) => "ready".to_owned(),
        Err(error) => error.to_string(),
    }
}
