//! Outcome records.

use bytes::Bytes;
use narun_core::durable::{Created, Outcome, OutcomeError, State};
use narun_core::frame::OutcomeRef;

use crate::harness::{ID, in_memory, tasks};

const DIGEST: [u8; 32] = [1; 32];

fn pending(published: bool) -> Outcome {
    Outcome { digest: DIGEST, scope: None, state: State::Pending { published } }
}

#[tokio::test]
async fn an_outcome_lives_from_pending_to_done() {
    let outcomes = tasks(in_memory()).await.outcomes().await.unwrap();
    assert_eq!(outcomes.get(ID).await.unwrap(), None);

    let Created::New(first) = outcomes.create(ID, &pending(false)).await.unwrap() else { panic!("not new") };
    let Created::Exists(kept) = outcomes.create(ID, &pending(true)).await.unwrap() else {
        panic!("new twice")
    };
    assert_eq!((kept.outcome, kept.revision), (pending(false), first));

    let second = outcomes.update(ID, &pending(true), first).await.unwrap();
    assert_eq!(outcomes.update(ID, &pending(true), first).await, Err(OutcomeError::Conflict));
    assert_eq!(outcomes.forget(ID, first).await, Err(OutcomeError::Conflict));
    assert_eq!(outcomes.get(ID).await.unwrap().unwrap().revision, second);

    let request = OutcomeRef { bucket: outcomes.bucket().to_owned(), digest: DIGEST, scope: Some([2; 32]) };
    let response = Bytes::from_static(b"a response");
    outcomes.done(ID, &request, response.clone()).await.unwrap();
    let kept = outcomes.get(ID).await.unwrap().unwrap();
    assert_eq!(kept.outcome.scope, Some([2; 32]));
    assert_eq!(kept.outcome.state, State::Done { response });

    outcomes.reopen(ID, &request).await.unwrap();
    let kept = outcomes.get(ID).await.unwrap().unwrap();
    assert_eq!(kept.outcome.state, State::Pending { published: true });

    outcomes.forget(ID, kept.revision).await.unwrap();
    assert_eq!(outcomes.get(ID).await.unwrap(), None);
    assert!(matches!(outcomes.create(ID, &pending(false)).await, Ok(Created::New(_))));
}
