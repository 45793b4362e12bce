//! KVWatch and KVHistory.

use std::fs;
use std::path::Path;

use async_nats::jetstream;
use async_nats::jetstream::kv::Store;
use futures::{FutureExt, StreamExt};
use narun_grpc::BucketSettings;
use narun_grpc::pb::{KvDeleteRequest, KvEntry, KvHistoryRequest, KvOperation, KvPutRequest, KvWatchRequest};
use narun_grpc::tenancy::Quotas;
use narun_support::Server;
use tonic::{Code, Status, Streaming};

use crate::harness::{GrpcClient, Service, connect, eventually, new_user, settle, soon};
use crate::kv::put;
use crate::restarts::serve;

fn watch(user: &str, key: &str) -> KvWatchRequest {
    KvWatchRequest { user_id: user.to_owned(), bucket: "b".into(), key: key.to_owned(), ..Default::default() }
}

async fn open(client: &GrpcClient, request: KvWatchRequest) -> Streaming<KvEntry> {
    client.clone().kv_watch(request).await.expect("a watch").into_inner()
}

async fn next(entries: &mut Streaming<KvEntry>) -> KvEntry {
    soon("an entry", entries.message()).await.expect("no error").expect("no end")
}

async fn end(entries: &mut Streaming<KvEntry>) -> Status {
    loop {
        match soon("the end", entries.message()).await {
            Ok(entry) => assert!(entry.is_some(), "an end without a status"),
            Err(status) => return status,
        }
    }
}

/// An entry as text: "key=value", "key deleted", "key purged" or "up to date".
fn shown(entry: &KvEntry) -> String {
    if entry.up_to_date {
        assert_eq!(*entry, KvEntry { up_to_date: true, ..Default::default() });
        return "up to date".to_owned();
    }
    assert!(entry.revision > 0 && entry.created.is_some(), "{entry:?}");
    let value = std::str::from_utf8(&entry.value).expect("text");
    match entry.operation() {
        KvOperation::OperationPut => format!("{}={value}", entry.key),
        KvOperation::OperationDelete => format!("{} deleted{value}", entry.key),
        KvOperation::OperationPurge => format!("{} purged{value}", entry.key),
    }
}

async fn come(entries: &mut Streaming<KvEntry>, expected: &[&str]) {
    let mut revision = 0;
    for expected in expected {
        let entry = next(entries).await;
        assert_eq!(shown(&entry), *expected);
        assert!(entry.up_to_date || entry.revision > revision, "{entry:?} after {revision}");
        revision = revision.max(entry.revision);
    }
}

/// Puts "key=value", deletes "-key", or purges "--key".
async fn change(client: &GrpcClient, user: &str, changes: &[&str]) {
    let mut client = client.clone();
    for change in changes {
        if let Some((key, value)) = change.split_once('=') {
            client.kv_put(put(user, "b", key, value)).await.unwrap();
            continue;
        }
        let delete = KvDeleteRequest {
            user_id: user.to_owned(),
            bucket: "b".into(),
            key: change.trim_start_matches('-').to_owned(),
            purge: change.starts_with("--"),
            ..Default::default()
        };
        assert!(client.kv_delete(delete).await.unwrap().into_inner().success);
    }
}

async fn history(client: &GrpcClient, user: &str, key: &str) -> Vec<String> {
    let request = KvHistoryRequest {
        user_id: user.to_owned(),
        bucket: "b".into(),
        key: key.to_owned(),
        ..Default::default()
    };
    let entries = client.clone().kv_history(request).await.expect("a history").into_inner().entries;
    assert!(entries.is_sorted_by_key(|entry| entry.revision), "{entries:?}");
    entries.iter().map(shown).collect()
}

/// A service whose buckets keep five entries of each key, and a user.
async fn prepared() -> (Service, String) {
    let settings = BucketSettings::new().history(5);
    (Service::with(|builder| builder.kv_buckets(settings)).await, new_user())
}

/// The bucket, by a NATS client.
async fn bucket(user: &str) -> Store {
    let context = jetstream::new(connect().await);
    context.get_key_value(format!("kv-user-{user}-b")).await.expect("a bucket")
}

async fn consumers(store: &Store) -> Vec<String> {
    store.stream.consumer_names().map(Result::unwrap).collect().await
}

#[tokio::test]
async fn initial_entries_come_first_and_then_changes() {
    let (service, user) = prepared().await;
    let client = &service.client;
    change(client, &user, &["a=1", "b=1", "c=1", "a=2", "-b"]).await;
    let mut all = open(client, watch(&user, "")).await;
    come(&mut all, &["c=1", "a=2", "b deleted", "up to date"]).await;
    let mut one = open(client, watch(&user, "a")).await;
    come(&mut one, &["a=2", "up to date"]).await;
    let request = KvWatchRequest { include_history: true, ..watch(&user, "a") };
    let mut history = open(client, request).await;
    come(&mut history, &["a=1", "a=2", "up to date"]).await;
    let request = KvWatchRequest { include_history: true, ..watch(&user, "") };
    let mut histories = open(client, request).await;
    come(&mut histories, &["a=1", "b=1", "c=1", "a=2", "b deleted", "up to date"]).await;
    let request = KvWatchRequest { updates_only: true, ..watch(&user, "") };
    let mut updates = open(client, request).await;
    come(&mut updates, &["up to date"]).await;
    let mut none = open(client, watch(&user, "none")).await;
    come(&mut none, &["up to date"]).await;
    change(client, &user, &["b=2", "a=3", "--a", "a=", "none=x"]).await;
    for entries in [&mut all, &mut histories, &mut updates] {
        come(entries, &["b=2", "a=3", "a purged", "a=", "none=x"]).await;
    }
    for entries in [&mut one, &mut history] {
        come(entries, &["a=3", "a purged", "a="]).await;
        assert!(entries.message().now_or_never().is_none());
    }
    come(&mut none, &["none=x"]).await;
}

#[tokio::test]
async fn keys_are_any_text_without_wildcards() {
    let (service, user) = prepared().await;
    let keys = ["*", ">", "a.*", "a..b", "ä b", "a"];
    let mut expected: Vec<_> = keys.iter().map(|key| format!("{key}=x")).collect();
    for change_ in &expected {
        change(&service.client, &user, &[change_]).await;
    }
    for (key, shown) in keys.iter().zip(&expected) {
        come(&mut open(&service.client, watch(&user, key)).await, &[shown, "up to date"]).await;
        assert_eq!(history(&service.client, &user, key).await, [shown.as_str()]);
    }
    // A name that is no escaped key is skipped.
    bucket(&user).await.put("a_not", "x".into()).await.unwrap();
    expected.push("up to date".to_owned());
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    come(&mut open(&service.client, watch(&user, "")).await, &expected).await;
}

#[tokio::test]
async fn a_history_is_as_long_as_the_bucket_keeps_it() {
    let (service, user) = prepared().await;
    assert!(history(&service.client, &user, "a").await.is_empty());
    change(&service.client, &user, &["a=0", "a=1", "b=1", "a=2", "a=3", "-a", "a=4"]).await;
    assert_eq!(history(&service.client, &user, "a").await, ["a=1", "a=2", "a=3", "a deleted", "a=4"]);
    assert!(history(&service.client, &user, "none").await.is_empty());
    assert!(history(&service.client, &new_user(), "a").await.is_empty());
    change(&service.client, &user, &["--a"]).await;
    assert_eq!(history(&service.client, &user, "a").await, ["a purged"]);
    let store = bucket(&user).await;
    eventually("no consumer", async || consumers(&store).await.is_empty()).await;
}

#[tokio::test]
async fn a_history_too_large_for_a_response_is_refused() {
    let (storing, user) = prepared().await;
    let value = "x".repeat(10_000);
    for _ in 0..5 {
        storing.client.clone().kv_put(put(&user, "b", "k", &value)).await.unwrap();
    }
    let service = Service::with(|builder| builder.response_limit(30_000)).await;
    let request =
        KvHistoryRequest { user_id: user.clone(), bucket: "b".into(), key: "k".into(), ..Default::default() };
    let status = service.client.clone().kv_history(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let entries = storing.client.clone().kv_history(request).await.unwrap().into_inner().entries;
    assert_eq!(entries.len(), 5);
}

#[tokio::test]
async fn invalid_requests_are_refused() {
    let (mut service, user) = prepared().await;
    change(&service.client, &user, &["a=1"]).await;
    let both = KvWatchRequest { include_history: true, updates_only: true, ..watch(&user, "a") };
    for (request, code) in [
        (both, Code::InvalidArgument),
        (watch(&user, &"k".repeat(4000)), Code::InvalidArgument),
        (KvWatchRequest { bucket: "a.b".into(), ..watch(&user, "a") }, Code::InvalidArgument),
        (KvWatchRequest { bucket: "none".into(), ..watch(&user, "a") }, Code::NotFound),
        (watch(&new_user(), "a"), Code::NotFound),
    ] {
        let shown = format!("{request:.100?}");
        assert_eq!(service.client.kv_watch(request).await.unwrap_err().code(), code, "{shown}");
    }
    let empty = KvHistoryRequest { user_id: user, bucket: "b".into(), ..Default::default() };
    let status = service.client.kv_history(empty).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_watch_ends_with_its_bucket_its_client_and_the_service() {
    let service = Service::with(|builder| builder.quotas(Quotas::new().subscriptions(1))).await;
    let user = new_user();
    let client = &service.client;
    change(client, &user, &["a=1"]).await;
    let store = bucket(&user).await;
    let mut entries = open(client, watch(&user, "")).await;
    come(&mut entries, &["a=1", "up to date"]).await;
    assert_eq!(consumers(&store).await.len(), 1);
    let status = client.clone().kv_watch(watch(&user, "")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(entries);
    eventually("no consumer", async || consumers(&store).await.is_empty()).await;

    let mut entries = open(client, watch(&user, "")).await;
    come(&mut entries, &["a=1", "up to date"]).await;
    let context = jetstream::new(connect().await);
    context.delete_key_value(format!("kv-user-{user}-b")).await.unwrap();
    // A bucket of the same name is another bucket.
    change(client, &user, &["a=2"]).await;
    assert_eq!(end(&mut entries).await.code(), Code::NotFound);

    let again = async || client.clone().kv_watch(watch(&user, "")).await;
    let mut entries = None;
    eventually("a place", async || {
        entries = again().await.ok();
        entries.is_some()
    })
    .await;
    service.service.end_subscriptions();
    assert_eq!(end(entries.as_mut().unwrap().get_mut()).await.code(), Code::Unavailable);
    assert_eq!(again().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_slow_client_gets_the_last_entry_of_each_key() {
    let (service, user) = (Service::start().await, new_user());
    change(&service.client, &user, &["a=1"]).await;
    let mut entries = open(&service.client, watch(&user, "")).await;
    let value = "x".repeat(50_000);
    for number in 0..300 {
        service.client.clone().kv_put(put(&user, "b", &format!("k{number}"), &value)).await.unwrap();
    }
    change(&service.client, &user, &["a=2"]).await;
    come(&mut entries, &["a=1", "up to date"]).await;
    for number in 0..300 {
        assert_eq!(next(&mut entries).await.key, format!("k{number}"));
    }
    come(&mut entries, &["a=2"]).await;
}

#[tokio::test]
async fn a_watch_recovers_lost_entries() {
    let (service, user) = prepared().await;
    change(&service.client, &user, &["a=1", "b=1"]).await;
    let mut all = open(&service.client, watch(&user, "")).await;
    come(&mut all, &["a=1", "b=1", "up to date"]).await;
    let mut updates = open(&service.client, KvWatchRequest { updates_only: true, ..watch(&user, "") }).await;
    come(&mut updates, &["up to date"]).await;
    let store = bucket(&user).await;
    let nats = connect().await;
    for round in ["2", "3"] {
        for name in consumers(&store).await {
            store.stream.delete_consumer(&name).await.unwrap();
        }
        settle(&nats).await;
        let changes = [format!("a={round}"), format!("b={round}")];
        let changes = changes.each_ref().map(String::as_str);
        change(&service.client, &user, &changes).await;
        come(&mut all, &changes).await;
        come(&mut updates, &changes).await;
    }
    drop((all, updates));
    eventually("no consumer", async || consumers(&store).await.is_empty()).await;
}

#[tokio::test]
async fn a_watch_resumes_after_the_server_died_without_gap_or_duplicate() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    change(&service.client, "u", &["first=0"]).await;
    let mut entries = open(&service.client, watch("u", "")).await;
    come(&mut entries, &["first=0", "up to date"]).await;
    let mut revision = 1;
    for round in 0..2 {
        // Different keys, so that the bucket keeps all entries.
        for number in 0..5 {
            let key = format!("k{round}.{number}");
            let request = KvPutRequest { expected_revision: Some(0), ..put("u", "b", &key, "x") };
            eventually("a value put", async || {
                let result = service.client.clone().kv_put(request.clone()).await;
                result.map_or_else(|status| status.code() == Code::AlreadyExists, |_| true)
            })
            .await;
            if number == 2 {
                server.kill().unwrap();
                server.restart().unwrap();
            }
        }
        for number in 0..5 {
            let entry = next(&mut entries).await;
            revision += 1;
            assert_eq!((entry.key, entry.revision), (format!("k{round}.{number}"), revision));
        }
    }
}

#[tokio::test]
async fn initial_entries_come_once_even_if_the_server_dies_meanwhile() {
    let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
    let service = serve(&server, |builder| builder).await;
    // More than fits on the way to a client, and half of the keys have a second entry.
    let value = "x".repeat(100_000);
    for number in 0..120 {
        service.client.clone().kv_put(put("u", "b", &format!("k{}", number % 80), &value)).await.unwrap();
    }
    let mut entries = open(&service.client, watch("u", "")).await;
    let mut keys: Vec<_> = (40..80).chain(0..40).map(|number| format!("k{number}")).collect();
    keys.reverse();
    let mut revision = 40;
    while let Some(key) = keys.pop() {
        if keys.len() == 75 {
            server.kill().unwrap();
            server.restart().unwrap();
        }
        let entry = next(&mut entries).await;
        revision += 1;
        assert_eq!((entry.key, entry.revision), (key, revision));
    }
    assert!(next(&mut entries).await.up_to_date);
    let last = async || service.client.clone().kv_put(put("u", "b", "last", "x")).await;
    eventually("a value put", async || last().await.is_ok()).await;
    assert_eq!(next(&mut entries).await.key, "last");
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("a file");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

#[tokio::test]
async fn a_watch_ends_when_revisions_go_back() {
    // Without more entries, and with more than there were.
    for more in [0, 20] {
        let mut server = Server::builder().jetstream(true).start().expect("a nats-server");
        let service = serve(&server, |builder| builder).await;
        let client = &service.client;
        let insist = async |key: &str| {
            let put = put("u", "b", key, "x");
            eventually("a value put", async || client.clone().kv_put(put.clone()).await.is_ok()).await;
        };
        insist("a").await;
        let copies = tempfile::tempdir().expect("a directory");
        server.stop().unwrap();
        copy(&server.store_dir(), copies.path());
        server.restart().unwrap();
        let updates = KvWatchRequest { updates_only: true, ..watch("u", "") };
        let (mut all, mut one, mut now) = (None, None, None);
        eventually("watches", async || {
            all = client.clone().kv_watch(watch("u", "")).await.ok();
            one = client.clone().kv_watch(watch("u", "b")).await.ok();
            now = client.clone().kv_watch(updates.clone()).await.ok();
            all.is_some() && one.is_some() && now.is_some()
        })
        .await;
        let watches = [all, one, now].map(|watch| watch.expect("a watch").into_inner());
        for key in ["b", "c", "b", "d"] {
            insist(key).await;
        }
        // Each has seen the last change of "b".
        let watches = watches.map(|mut watch| async {
            while next(&mut watch).await.revision < 4 {}
            watch
        });
        let watches = futures::future::join_all(watches).await;
        server.stop().unwrap();
        fs::remove_dir_all(server.store_dir()).expect("a directory removed");
        copy(copies.path(), &server.store_dir());
        server.restart().unwrap();
        let nats = async_nats::connect(server.url()).await.expect("a connection");
        let context = jetstream::new(nats);
        for number in 0..more {
            let subject = format!("$KV.kv-user-u-b.k{number}");
            context.publish(subject, "x".into()).await.unwrap().await.unwrap();
        }
        for mut watch in watches {
            assert_eq!(end(&mut watch).await.code(), Code::Aborted, "{more}");
        }
        let mut again = open(client, watch("u", "a")).await;
        come(&mut again, &["a=x", "up to date"]).await;
    }
}
