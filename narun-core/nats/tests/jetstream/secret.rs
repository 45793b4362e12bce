//! The secret of a namespace.

use std::time::Duration;

use async_nats::jetstream::kv;
use narun_core::ExchangeId;
use narun_nats::jetstream::{KeySecret, Outcome, OutcomeError, OutcomeState, TaskStreams};
use narun_support::testing::eventually;

use crate::harness::{in_memory, tasks};

async fn bucket(tasks: &TaskStreams) -> kv::Store {
    let bucket = tasks.namespace().outcomes_bucket();
    tasks.context().get_key_value(bucket).await.unwrap()
}

/// The secret as a process reads it that does not know it.
async fn read(tasks: &TaskStreams) -> KeySecret {
    tasks.outcomes().await.unwrap().secret().await.unwrap()
}

#[tokio::test]
async fn many_processes_make_one_secret() {
    let tasks = tasks(in_memory()).await;
    let all = futures::future::join_all((0..8).map(|_| read(&tasks))).await;
    assert!(all.iter().all(|secret| *secret == all[0]));
    assert_eq!(bucket(&tasks).await.entry("secret").await.unwrap().unwrap().value.len(), 33);
    let other = crate::harness::tasks(in_memory()).await;
    assert_ne!(read(&other).await, all[0]);
}

#[tokio::test]
async fn a_secret_outlives_the_outcomes() {
    let settings = in_memory().duplicate_window(Duration::from_secs(1)).outcome_ttl(Duration::from_secs(2));
    let tasks = tasks(settings).await;
    let outcomes = tasks.outcomes().await.unwrap();
    let secret = outcomes.secret().await.unwrap();
    let first = bucket(&tasks).await.entry("secret").await.unwrap().unwrap().revision;
    let state = OutcomeState::Pending { published: true };
    let id = ExchangeId::from_bytes([7; 16]);
    outcomes.create(id, &Outcome { digest: [1; 32], scope: None, state }).await.unwrap();
    eventually("an outcome that expired", async || {
        outcomes.keep_secret().await.unwrap();
        outcomes.get(id).await.unwrap().is_none()
    })
    .await;
    assert_eq!(read(&tasks).await, secret);
    assert!(bucket(&tasks).await.entry("secret").await.unwrap().unwrap().revision > first);
}

#[tokio::test]
async fn a_process_that_starts_stores_the_secret_again_once() {
    let tasks = tasks(in_memory()).await;
    let first = tasks.outcomes().await.unwrap();
    let secret = first.secret().await.unwrap();
    let revision = async || bucket(&tasks).await.entry("secret").await.unwrap().unwrap().revision;
    let made = revision().await;
    first.keep_secret().await.unwrap();
    assert_eq!(revision().await, made, "just made");

    let second = tasks.outcomes().await.unwrap();
    second.keep_secret().await.unwrap();
    let renewed = revision().await;
    assert!(renewed > made);
    for outcomes in [&first, &second] {
        outcomes.keep_secret().await.unwrap();
        assert_eq!(outcomes.secret().await.unwrap(), secret);
    }
    assert_eq!(revision().await, renewed);
}

#[tokio::test]
async fn nobody_makes_a_secret_before_a_key_is_used() {
    let tasks = tasks(in_memory()).await;
    tasks.outcomes().await.unwrap().keep_secret().await.unwrap();
    assert_eq!(bucket(&tasks).await.entry("secret").await.unwrap(), None);
}

#[tokio::test]
async fn a_deleted_secret_is_put_back() {
    let tasks = tasks(in_memory()).await;
    let outcomes = tasks.outcomes().await.unwrap();
    let secret = outcomes.secret().await.unwrap();
    tasks.context().delete_key_value(outcomes.bucket()).await.unwrap();
    assert!(matches!(outcomes.keep_secret().await, Err(OutcomeError::Unavailable(_))));
    tasks.outcomes().await.unwrap();
    outcomes.keep_secret().await.unwrap();
    assert_eq!(read(&tasks).await, secret);

    bucket(&tasks).await.delete("secret").await.unwrap();
    outcomes.keep_secret().await.unwrap();
    assert_eq!(read(&tasks).await, secret);
}

#[tokio::test]
async fn a_process_takes_over_the_stored_secret() {
    let tasks = tasks(in_memory()).await;
    let outcomes = tasks.outcomes().await.unwrap();
    let secret = outcomes.secret().await.unwrap();
    bucket(&tasks).await.put("secret", vec![1; 33].into()).await.unwrap();
    assert_eq!(outcomes.secret().await.unwrap(), secret, "not checked yet");
    outcomes.keep_secret().await.unwrap();
    assert_ne!(outcomes.secret().await.unwrap(), secret);
    assert_eq!(read(&tasks).await, outcomes.secret().await.unwrap());
}

#[tokio::test]
async fn a_foreign_value_is_not_replaced() {
    let tasks = tasks(in_memory()).await;
    let outcomes = tasks.outcomes().await.unwrap();
    bucket(&tasks).await.put("secret", "foreign".into()).await.unwrap();
    assert!(matches!(outcomes.secret().await, Err(OutcomeError::Malformed(_))));
    assert!(matches!(outcomes.keep_secret().await, Err(OutcomeError::Malformed(_))));
    assert_eq!(bucket(&tasks).await.get("secret").await.unwrap().unwrap(), "foreign");
}
