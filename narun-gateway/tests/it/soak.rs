//! Exchanges that do not complete leak no memory.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use http::StatusCode;
use narun_gateway::{Gateway, Route};

use crate::harness::{connect, eventually, get, new_app, open_tokens, post, send, settle};

/// Set in the process that is measured.
const MEASURED: &str = "NARUN_SOAK";

/// In each of three rounds.
const EXCHANGES: usize = 10_000;

#[test]
fn timed_out_and_cancelled_exchanges_leak_nothing() {
    if env::var_os(MEASURED).is_some() {
        return soak();
    }
    // In a process of its own, because other tests use memory too.
    let name = "soak::timed_out_and_cancelled_exchanges_leak_nothing";
    let output = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(MEASURED, "1")
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::main(flavor = "current_thread")]
async fn soak() {
    let app = new_app();
    let gateway = Gateway::builder(connect().await)
        .route(Route::any("/late", &app).timeout(Duration::from_millis(2)))
        .route(Route::any("/", &app))
        .build()
        .await
        .expect("a gateway");
    // It receives all messages and does not respond.
    let client = connect().await;
    let subject = format!("call.TASK.{app}");
    let mut requests = client.subscribe(subject).await.expect("a subscription");
    settle(&client).await;
    let sink = tokio::spawn(async move {
        let mut count = 0_usize;
        while requests.next().await.is_some_and(|message| !message.payload.is_empty()) {
            count += 1;
        }
        count
    });

    // Allocators and maps have reserved their memory after the first round.
    let mut sizes = Vec::new();
    for _ in 0..3 {
        round(&gateway).await;
        sizes.push(resident());
    }
    eprintln!("resident: {sizes:?} bytes");
    let grown = sizes[2].saturating_sub(sizes[0]);
    // 355 bytes an exchange would be 7 MB.
    assert!(grown < 2 * 1024 * 1024, "grown by {grown} bytes in {} exchanges", 2 * EXCHANGES);

    client.publish(format!("call.TASK.{app}"), "".into()).await.expect("a message sent");
    // Not all: on a busy machine, some time out before they are sent.
    let sent = sink.await.expect("no panic");
    assert!(sent > 2 * EXCHANGES, "{sent} were really sent");
}

async fn round(gateway: &Gateway) {
    let mut most = 0;
    let mut exchanges = stream::iter(0..EXCHANGES)
        .map(async |number| match number % 2 {
            0 => assert_eq!(send(gateway, post("/late")).await.status, StatusCode::GATEWAY_TIMEOUT),
            _ => {
                let cancelled = tokio::time::timeout(Duration::from_millis(2), send(gateway, get("/"))).await;
                assert!(cancelled.is_err());
            }
        })
        .buffer_unordered(64);
    while exchanges.next().await.is_some() {
        most = most.max(open_tokens(gateway));
    }
    drop(exchanges);
    assert!((1..=64).contains(&most), "{most} tokens open at once");
    eventually("no token open", async || open_tokens(gateway) == 0).await;
}

/// The resident memory of this process in bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize =
        pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
