//! Declaring streams, consumers and buckets.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{consumer, kv, object_store};
use futures::future::join_all;
use narun_core::App;
use narun_nats::jetstream::{DeclareError, TaskStreams};
use narun_nats::jetstream::{Storage, StreamSettings};
use narun_support::testing::Logs;
use narun_support::{Binary, Server};
use tracing::Level;

use crate::harness::{connect, connect_to, in_memory, new_namespace, tasks};

const WAIT: Duration = Duration::from_secs(3);

fn app() -> App {
    App::new("hello").unwrap()
}

async fn declare_all(tasks: &TaskStreams) -> Result<(), DeclareError> {
    tasks.declare_stream().await?;
    tasks.declare_dead_letters().await?;
    tasks.outcomes().await?;
    tasks.bodies().await?;
    assert_eq!(tasks.declare_consumer(&app(), WAIT).await?, WAIT);
    Ok(())
}

/// The configuration of a stream on the server.
async fn config(tasks: &TaskStreams, stream: &str) -> Config {
    tasks.context().get_stream(stream).await.unwrap().cached_info().config.clone()
}

/// Declares the stream of requests where it exists with this change.
async fn against(change: impl FnOnce(&mut Config)) -> Result<(), DeclareError> {
    let tasks = tasks(in_memory()).await;
    tasks.declare_stream().await.unwrap();
    let mut found = config(&tasks, tasks.namespace().task_stream()).await;
    tasks.context().delete_stream(&found.name).await.unwrap();
    change(&mut found);
    tasks.context().create_stream(found).await.unwrap();
    tasks.declare_stream().await
}

fn difference<T: std::fmt::Debug>(result: Result<T, DeclareError>) -> String {
    match result {
        Err(DeclareError::Mismatch { difference, .. }) => difference,
        other => panic!("no mismatch: {other:?}"),
    }
}

#[tokio::test]
async fn missing_streams_are_created_once() {
    let tasks = tasks(in_memory().max_messages(9).max_bytes(9000).max_age(Duration::from_secs(60))).await;
    declare_all(&tasks).await.unwrap();
    let stream = config(&tasks, tasks.namespace().task_stream()).await;
    assert_eq!(stream.subjects, [tasks.namespace().task_subjects()]);
    assert_eq!((stream.retention, stream.discard), (RetentionPolicy::WorkQueue, DiscardPolicy::New));
    assert_eq!((stream.max_messages, stream.max_bytes), (9, 9000));
    // The server refuses a window that is longer than messages are kept.
    assert_eq!((stream.max_age, stream.duplicate_window), (Duration::from_secs(60), Duration::from_secs(60)));
    assert_eq!(tasks.duplicate_window(), stream.duplicate_window);
    let dead = config(&tasks, &tasks.namespace().dead_stream()).await;
    assert_eq!(
        (dead.retention, dead.max_age, dead.max_messages),
        (RetentionPolicy::Limits, Duration::ZERO, -1)
    );

    declare_all(&tasks).await.unwrap();
    assert_eq!(config(&tasks, &stream.name).await, stream);
}

#[tokio::test]
async fn everything_is_bounded_by_default() {
    const MIB: i64 = 1 << 20;
    let tasks = tasks(StreamSettings::new()).await;
    declare_all(&tasks).await.unwrap();
    let namespace = tasks.namespace();
    for (stream, max_bytes) in [
        (namespace.task_stream().to_owned(), 256 * MIB),
        (format!("OBJ_{}", namespace.bodies_bucket()), 256 * MIB),
        (format!("KV_{}", namespace.outcomes_bucket()), 128 * MIB),
        (namespace.dead_stream(), 64 * MIB),
    ] {
        let found = config(&tasks, &stream).await;
        assert_eq!((found.max_bytes, found.discard), (max_bytes, DiscardPolicy::New), "{stream}");
    }
}

#[tokio::test]
async fn limits_are_those_of_the_settings() {
    let settings = in_memory()
        .max_bytes(1 << 20)
        .bodies_max_bytes(u64::MAX)
        .outcomes_max_bytes(1 << 30)
        .dead_letters_max_bytes(0);
    let tasks = tasks(settings).await;
    declare_all(&tasks).await.unwrap();
    let namespace = tasks.namespace();
    for (stream, max_bytes) in [
        (namespace.task_stream().to_owned(), 1 << 20),
        (format!("OBJ_{}", namespace.bodies_bucket()), -1),
        (format!("KV_{}", namespace.outcomes_bucket()), 1 << 30),
        // The server takes 0 for no limit.
        (namespace.dead_stream(), 1),
    ] {
        assert_eq!(config(&tasks, &stream).await.max_bytes, max_bytes, "{stream}");
    }
}

#[tokio::test]
async fn a_stream_for_which_there_is_no_room_is_an_error_that_names_the_setting() {
    let limits = "jetstream { max_file_store: 300MiB, max_memory_store: 300MiB }";
    let server = Server::builder().jetstream(true).config(limits).start().unwrap();
    for settings in [in_memory(), StreamSettings::new()] {
        let tasks = TaskStreams::new(connect_to(&server).await, new_namespace(), settings);
        // Once this one is declared, there is no room for the others.
        tasks.declare_stream().await.unwrap();
        for (result, expected) in [
            (tasks.bodies().await.map(drop), "bodies_max_bytes"),
            (tasks.outcomes().await.map(drop), "outcomes_max_bytes"),
            (tasks.declare_dead_letters().await, "dead_letters_max_bytes"),
        ] {
            let Err(error) = result else { panic!("no error: {expected}") };
            assert!(!error.is_temporary());
            let text = error.to_string();
            let names = [format!("StreamSettings::{expected}"), format!("`stream.{expected}`")];
            assert!(names.iter().all(|name| text.contains(name)), "{text}");
        }
    }
}

#[tokio::test]
async fn an_account_without_room_is_an_error_that_names_the_setting() {
    let accounts = "accounts { A { users: [{user: a, password: a}], jetstream { max_file: 200KB } } }";
    let server = Server::builder().jetstream(true).config(accounts).start().unwrap();
    let options = async_nats::ConnectOptions::with_user_and_password("a".into(), "a".into());
    let client = options.connect(server.url()).await.unwrap();
    let tasks = |settings| TaskStreams::new(client.clone(), new_namespace(), settings);
    let refused = tasks(StreamSettings::new()).declare_stream().await;
    assert!(matches!(refused, Err(DeclareError::NoRoom { setting: "max_bytes", .. })), "{refused:?}");
    tasks(StreamSettings::new().max_bytes(100_000)).declare_stream().await.unwrap();
}

#[tokio::test]
async fn an_unlimited_stream_that_exists_is_used() {
    let tasks = tasks(in_memory().max_bytes(u64::MAX)).await;
    tasks.declare_stream().await.unwrap();
    let bounded = TaskStreams::new(connect().await, tasks.namespace().clone(), in_memory());
    bounded.declare_stream().await.unwrap();
    assert_eq!(config(&tasks, tasks.namespace().task_stream()).await.max_bytes, -1);
}

#[tokio::test]
async fn outcomes_are_kept_as_long_as_duplicates_are_recognised() {
    let second = Duration::from_secs(1);
    for (window, ttl, kept) in [(120, 60, 120), (60, 120, 120)] {
        let settings = in_memory().duplicate_window(window * second).outcome_ttl(ttl * second);
        let tasks = tasks(settings).await;
        tasks.outcomes().await.unwrap();
        let stream = format!("KV_{}", tasks.namespace().outcomes_bucket());
        assert_eq!(config(&tasks, &stream).await.max_age, kept * second);
    }
}

#[tokio::test]
async fn buckets_equal_those_of_other_clients() {
    let unlimited = in_memory().outcomes_max_bytes(u64::MAX).bodies_max_bytes(u64::MAX);
    let (ours, theirs) = (tasks(unlimited).await, new_namespace());
    let config_of = async |stream: String| Config {
        name: String::new(),
        subjects: Vec::new(),
        ..config(&ours, &stream).await
    };
    ours.outcomes().await.unwrap();
    ours.bodies().await.unwrap();

    let bucket = theirs.outcomes_bucket();
    let day = Duration::from_secs(24 * 60 * 60);
    let wanted = kv::Config {
        bucket: bucket.clone(),
        max_age: day,
        storage: StorageType::Memory,
        ..Default::default()
    };
    let theirs_first = ours.context().create_key_value(wanted).await.unwrap();
    let stream = format!("KV_{}", ours.namespace().outcomes_bucket());
    assert_eq!(
        config_of(stream).await,
        Config { description: None, ..config_of(format!("KV_{bucket}")).await }
    );
    assert!(theirs_first.stream.cached_info().config.allow_direct);

    let bucket = theirs.bodies_bucket();
    let wanted = object_store::Config {
        bucket: bucket.clone(),
        storage: StorageType::Memory,
        num_replicas: 1,
        ..Default::default()
    };
    ours.context().create_object_store(wanted).await.unwrap();
    let stream = format!("OBJ_{}", ours.namespace().bodies_bucket());
    assert_eq!(config_of(stream).await, config_of(format!("OBJ_{bucket}")).await);

    // Theirs are accepted here.
    let tasks = TaskStreams::new(connect().await, theirs, in_memory());
    tasks.outcomes().await.unwrap();
    tasks.bodies().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_breaks_a_guarantee_is_refused() {
    let second = Duration::from_secs(1);
    assert_eq!(
        difference(against(|found| found.retention = RetentionPolicy::Limits).await),
        "retention limits, not work queue"
    );
    assert_eq!(
        difference(against(|found| found.discard = DiscardPolicy::Old).await),
        "discard policy old, not new"
    );
    assert_eq!(
        difference(against(|found| found.storage = StorageType::File).await),
        "storage file, not memory"
    );
    assert_eq!(
        difference(against(|found| found.duplicate_window = second).await),
        "a duplicate window of 1s, not 120s"
    );
    let aged = |found: &mut Config| found.max_age = 200 * second;
    assert_eq!(difference(against(aged).await), "a maximum age of 200s, not none");
    let few = |found: &mut Config| found.max_messages_per_subject = 1;
    assert_eq!(difference(against(few).await), "a limit of 1 messages of a subject");
    assert_eq!(difference(against(|found| found.no_ack = true).await), "acknowledgements turned off");
    let mut wanted = String::new();
    let other = against(|found| {
        wanted = found.subjects[0].clone();
        found.subjects[0] = format!("{}.a", found.subjects[0].trim_end_matches(".>"));
    });
    let difference = difference(other.await);
    assert!(
        difference.starts_with("subjects ") && difference.ends_with(&format!(", not {wanted}")),
        "{difference}"
    );
}

#[tokio::test]
async fn a_smaller_or_safer_stream_is_accepted() {
    against(|found| (found.max_messages, found.max_bytes, found.max_message_size) = (10, 1000, 100))
        .await
        .unwrap();
    against(|found| found.duplicate_window *= 2).await.unwrap();
    against(|found| found.description = Some("ours".to_owned())).await.unwrap();
}

#[tokio::test]
async fn buckets_and_dead_letters_are_checked_too() {
    let tasks = tasks(in_memory()).await;
    let (context, namespace) = (tasks.context(), tasks.namespace());
    let file = |name: String, subject: String| Config { name, subjects: vec![subject], ..Default::default() };
    context.create_stream(file(namespace.dead_stream(), namespace.dead_subjects())).await.unwrap();
    assert_eq!(difference(tasks.declare_dead_letters().await), "discard policy old, not new");

    let aged = Duration::from_secs(200);
    let bucket = kv::Config {
        bucket: namespace.outcomes_bucket(),
        max_age: aged,
        storage: StorageType::Memory,
        ..Default::default()
    };
    context.create_key_value(bucket).await.unwrap();
    assert_eq!(difference(tasks.outcomes().await), "a maximum age of 200s, not 86400s");
    let bucket = object_store::Config {
        bucket: namespace.bodies_bucket(),
        max_age: aged,
        storage: StorageType::Memory,
        ..Default::default()
    };
    context.create_object_store(bucket).await.unwrap();
    assert_eq!(difference(tasks.bodies().await), "a maximum age of 200s, not none");
}

/// Declares the consumer where it exists with this change.
async fn against_consumer(change: impl FnOnce(&mut consumer::Config)) -> Result<Duration, DeclareError> {
    let tasks = tasks(in_memory()).await;
    tasks.declare_stream().await.unwrap();
    let mut found = consumer::Config {
        durable_name: Some("hello".to_owned()),
        filter_subject: tasks.namespace().task_subject(&app()),
        ack_wait: WAIT,
        max_ack_pending: -1,
        ..Default::default()
    };
    change(&mut found);
    let stream = tasks.namespace().task_stream();
    tasks.context().create_consumer_on_stream(found, stream).await.unwrap();
    tasks.declare_consumer(&app(), WAIT).await
}

#[tokio::test]
async fn a_consumer_that_breaks_a_guarantee_is_refused() {
    let other = difference(against_consumer(|found| found.filter_subject.push_str(".more")).await);
    assert!(other.starts_with("filter task."), "{other}");
    let bounded = difference(against_consumer(|found| found.max_deliver = 7).await);
    assert_eq!(bounded, "7 deliveries at most, not unlimited");
    let heads = difference(against_consumer(|found| found.headers_only = true).await);
    assert_eq!(heads, "headers only, not payloads");
    let push = |found: &mut consumer::Config| found.deliver_subject = Some("elsewhere".to_owned());
    assert_eq!(difference(against_consumer(push).await), "push delivery, not pull");
}

#[tokio::test]
async fn the_ack_wait_is_that_of_the_consumer() {
    assert_eq!(against_consumer(|_| {}).await, Ok(WAIT));
    assert_eq!(against_consumer(|found| found.ack_wait = 2 * WAIT).await, Ok(2 * WAIT));
    let backoff = |found: &mut consumer::Config| {
        (found.backoff, found.max_deliver) = (vec![WAIT / 3, WAIT], -1);
    };
    assert_eq!(against_consumer(backoff).await, Ok(WAIT / 3));
    assert_eq!(against_consumer(|found| found.max_ack_pending = 10).await, Ok(WAIT));
}

#[tokio::test]
async fn nothing_is_created_if_declaring_is_off() {
    let tasks = tasks(in_memory().declare(false)).await;
    let missing = |what: String| Err(DeclareError::Missing { what });
    let namespace = tasks.namespace().clone();
    let named = |name: String| missing(format!("stream {name}"));
    assert_eq!(tasks.declare_stream().await, named(namespace.to_string()));
    assert_eq!(tasks.declare_dead_letters().await, named(namespace.dead_stream()));
    let bucket = |name: String| Some(DeclareError::Missing { what: format!("bucket {name}") });
    assert_eq!(tasks.outcomes().await.err(), bucket(namespace.outcomes_bucket()));
    assert_eq!(tasks.bodies().await.err(), bucket(namespace.bodies_bucket()));
    assert_eq!(tasks.declare_consumer(&app(), WAIT).await.err(), named(namespace.to_string()).err());

    let declaring = TaskStreams::new(connect().await, namespace.clone(), in_memory());
    declaring.declare_stream().await.unwrap();
    tasks.declare_stream().await.unwrap();
    let consumer = format!("consumer hello of stream {namespace}");
    assert_eq!(tasks.declare_consumer(&app(), WAIT).await.err(), missing(consumer).err());
}

#[tokio::test]
async fn many_clients_can_declare_at_once() {
    let namespace = new_namespace();
    let mut all = Vec::new();
    for _ in 0..8 {
        all.push(TaskStreams::new(connect().await, namespace.clone(), in_memory()));
    }
    for result in join_all(all.iter().map(declare_all)).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn one_of_two_different_declarations_fails() {
    let namespace = new_namespace();
    let file =
        TaskStreams::new(connect().await, namespace.clone(), StreamSettings::new().storage(Storage::File));
    let memory = TaskStreams::new(connect().await, namespace, in_memory());
    let (first, second) = tokio::join!(file.declare_stream(), memory.declare_stream());
    let failed = if first.is_ok() { second } else { first };
    assert!(difference(failed).starts_with("storage "));

    let app = app();
    let (one, other) =
        tokio::join!(file.declare_consumer(&app, WAIT), memory.declare_consumer(&app, 2 * WAIT));
    assert_eq!(one, other, "both have the ack wait of the consumer that exists");
}

#[tokio::test]
async fn a_refusal_is_not_temporary() {
    let clustered = tasks(in_memory().replicas(3)).await;
    let refused = clustered.declare_stream().await.unwrap_err();
    assert!(matches!(refused, DeclareError::Refused { .. }), "{refused:?}");
    assert!(!refused.is_temporary());
}

#[tokio::test]
async fn a_server_without_jetstream_is_a_temporary_error() {
    let server = Server::start().unwrap();
    let tasks = TaskStreams::new(connect_to(&server).await, new_namespace(), in_memory());
    let error = tasks.declare_stream().await.unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    assert!(tasks.declare_consumer(&app(), WAIT).await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn server_2_10_works() {
    let binary = Binary::version("2.10.26").unwrap();
    let server = Server::builder().binary(binary).jetstream(true).start().unwrap();
    let tasks = TaskStreams::new(connect_to(&server).await, new_namespace(), StreamSettings::new());
    declare_all(&tasks).await.unwrap();
    declare_all(&tasks).await.unwrap();
    crate::outcomes::goes_from_pending_to_done(&tasks).await;
    crate::bodies::is_stored_and_deleted(&tasks, 300_000).await;
}

#[tokio::test]
async fn a_difference_that_breaks_no_guarantee_is_logged_once() {
    let logs = Logs::capture();
    let (client, namespace) = (connect().await, new_namespace());
    let tasks = TaskStreams::new(client.clone(), namespace.clone(), in_memory().max_bytes(1000));
    tasks.declare_stream().await.unwrap();
    tasks.declare_consumer(&app(), WAIT).await.unwrap();
    let others = TaskStreams::new(client, namespace.clone(), in_memory().max_bytes(2000).max_messages(3));
    for _ in 0..3 {
        others.declare_stream().await.unwrap();
        assert_eq!(others.declare_consumer(&app(), 2 * WAIT).await, Ok(WAIT));
    }
    let text = "what exists differs from the settings";
    for (what, difference) in [
        (format!("stream {namespace}"), "maximum bytes 1000, not 2000"),
        (format!("stream {namespace}"), "maximum messages unlimited, not 3"),
        (format!("consumer hello of stream {namespace}"), "ack wait 3s, not 6s"),
    ] {
        let (level, _) = logs.event(text, &[("what", &what), ("difference", difference)]).await;
        assert_eq!(level, Level::WARN);
        assert_eq!(
            logs.events(text, &[("what", &what), ("difference", difference)]).len(),
            1,
            "{difference}"
        );
    }
}
