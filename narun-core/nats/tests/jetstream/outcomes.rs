//! Outcome records.

use std::time::Duration;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use narun_core::frame::OutcomeRef;
use narun_nats::jetstream::{Created, Outcome, OutcomeError, OutcomeState, TaskStreams};

use crate::harness::{ID, in_memory, tasks};

const DIGEST: [u8; 32] = [1; 32];

fn pending(published: bool) -> Outcome {
    Outcome { digest: DIGEST, scope: None, state: OutcomeState::Pending { published } }
}

fn request(bucket: &str) -> OutcomeRef {
    OutcomeRef { bucket: bucket.to_owned(), digest: DIGEST, scope: Some([2; 32]) }
}

/// Changes one outcome from pending to done, then deletes it.
pub(crate) async fn goes_from_pending_to_done(tasks: &TaskStreams) {
    let outcomes = tasks.outcomes().await.unwrap();
    assert_eq!(outcomes.get(ID).await.unwrap(), None);

    let Created::New(first) = outcomes.create(ID, &pending(false)).await.unwrap() else { panic!("not new") };
    let Created::Exists(kept) = outcomes.create(ID, &pending(true)).await.unwrap() else {
        panic!("new twice")
    };
    assert_eq!((kept.outcome, kept.revision), (pending(false), first));
    assert!(kept.age < Duration::from_secs(10), "{:?}", kept.age);

    let second = outcomes.update(ID, &pending(true), first).await.unwrap();
    assert_eq!(outcomes.update(ID, &pending(true), first).await, Err(OutcomeError::Conflict));
    assert_eq!(outcomes.forget(ID, first).await, Err(OutcomeError::Conflict));
    assert_eq!(outcomes.get(ID).await.unwrap().unwrap().revision, second);

    let (request, response) = (request(outcomes.bucket()), Bytes::from_static(b"a response"));
    outcomes.done(ID, &request, response.clone()).await.unwrap();
    let kept = outcomes.get(ID).await.unwrap().unwrap();
    assert_eq!(
        kept.outcome,
        Outcome { digest: DIGEST, scope: Some([2; 32]), state: OutcomeState::Done { response } }
    );
    assert!(kept.revision > second);

    outcomes.reopen(ID, &request).await.unwrap();
    let kept = outcomes.get(ID).await.unwrap().unwrap();
    assert_eq!(kept.outcome.state, OutcomeState::Pending { published: true });
    assert_eq!(kept.outcome.scope, Some([2; 32]));

    outcomes.forget(ID, kept.revision).await.unwrap();
    assert_eq!(outcomes.get(ID).await.unwrap(), None);
    assert!(matches!(outcomes.create(ID, &pending(false)).await, Ok(Created::New(_))));
    assert!(matches!(outcomes.create(ID, &pending(false)).await, Ok(Created::Exists(_))));
}

#[tokio::test]
async fn an_outcome_goes_from_pending_to_done() {
    goes_from_pending_to_done(&tasks(in_memory()).await).await;
}

#[tokio::test]
async fn one_of_many_clients_creates_an_outcome() {
    let outcomes = tasks(in_memory()).await.outcomes().await.unwrap();
    let first = pending(false);
    let all = futures::future::join_all((0..8).map(|_| outcomes.create(ID, &first))).await;
    let new: Vec<_> = all
        .iter()
        .filter_map(|created| match created {
            Ok(Created::New(revision)) => Some(*revision),
            Ok(Created::Exists(_)) => None,
            Err(error) => panic!("{error}"),
        })
        .collect();
    let [revision] = new[..] else { panic!("{new:?}") };
    assert!(all.into_iter().flatten().all(|created| match created {
        Created::New(_) => true,
        Created::Exists(kept) => kept.revision == revision,
    }));
}

#[tokio::test]
async fn a_foreign_value_is_malformed() {
    let tasks = tasks(in_memory()).await;
    let outcomes = tasks.outcomes().await.unwrap();
    let store = tasks.context().get_key_value(outcomes.bucket()).await.unwrap();
    store.put(ID.to_string(), "foreign".into()).await.unwrap();
    assert!(matches!(outcomes.get(ID).await, Err(OutcomeError::Malformed(_))));
    assert!(matches!(outcomes.create(ID, &pending(false)).await, Err(OutcomeError::Malformed(_))));
    outcomes.done(ID, &request(outcomes.bucket()), Bytes::from_static(b"a response")).await.unwrap();
    assert!(outcomes.get(ID).await.unwrap().is_some());

    // Deletions by other clients count.
    for purge in [false, true] {
        match purge {
            true => store.purge(ID.to_string()).await.unwrap(),
            false => store.delete(ID.to_string()).await.unwrap(),
        }
        assert_eq!(outcomes.get(ID).await.unwrap(), None);
        assert!(matches!(outcomes.create(ID, &pending(false)).await, Ok(Created::New(_))));
    }
}

#[tokio::test]
async fn a_response_of_nearly_max_payload_is_stored() {
    let tasks = tasks(in_memory()).await;
    let outcomes = tasks.outcomes().await.unwrap();
    let request = request(outcomes.bucket());
    let message = tasks.context().client().server_info().max_payload;
    let response = Bytes::from(vec![b'x'; message - 4096]);
    outcomes.done(ID, &request, response.clone()).await.unwrap();
    assert!(outcomes.get(ID).await.unwrap().unwrap().outcome.state == OutcomeState::Done { response });
    let response = Bytes::from(vec![b'x'; message]);
    assert_eq!(outcomes.done(ID, &request, response).await, Err(OutcomeError::TooLarge));
}

#[tokio::test]
async fn the_limits_of_a_bucket_are_different_errors() {
    let tasks = tasks(in_memory()).await;
    let bucket = kv::Config {
        bucket: tasks.namespace().outcomes_bucket(),
        max_age: Duration::from_secs(24 * 60 * 60),
        storage: StorageType::Memory,
        max_bytes: 2000,
        max_value_size: 1000,
        ..Default::default()
    };
    tasks.context().create_key_value(bucket).await.unwrap();
    let outcomes = tasks.outcomes().await.unwrap();
    let (request, other) = (request(outcomes.bucket()), narun_core::ExchangeId::from_bytes([8; 16]));
    let done = async |id, length| outcomes.done(id, &request, vec![b'x'; length].into()).await;
    assert_eq!(done(ID, 1000).await, Err(OutcomeError::TooLarge));
    assert_eq!(done(ID, 800).await, Ok(()));
    assert_eq!(done(other, 800).await, Ok(()));
    assert_eq!(done(narun_core::ExchangeId::from_bytes([9; 16]), 800).await, Err(OutcomeError::Full));

    tasks.context().delete_key_value(outcomes.bucket()).await.unwrap();
    assert!(matches!(done(ID, 1).await, Err(OutcomeError::Unavailable(_))));
    assert!(matches!(outcomes.get(ID).await, Err(OutcomeError::Unavailable(_))));
}

#[tokio::test]
async fn outcomes_are_updated_in_a_full_bucket_however_long_their_revisions_are() {
    let tasks = tasks(in_memory().outcomes_max_bytes(30_000)).await;
    let outcomes = tasks.outcomes().await.unwrap();
    let mut created = Vec::new();
    let full = loop {
        let id = narun_core::ExchangeId::from_bytes((created.len() as u128).to_be_bytes());
        match outcomes.create(id, &pending(false)).await {
            Ok(Created::New(revision)) => created.push((id, revision)),
            other => break other,
        }
    };
    assert_eq!(full, Err(OutcomeError::Full));
    assert!(created.iter().any(|(_, revision)| *revision >= 100), "{created:?}");
    for (id, revision) in created {
        let updated = outcomes.update(id, &pending(true), revision).await;
        assert!(updated.is_ok(), "{revision}: {updated:?}");
    }
}
