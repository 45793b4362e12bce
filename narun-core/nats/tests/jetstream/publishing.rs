use async_nats::Subject;
use bytes::Bytes;
use futures::StreamExt;
use narun_core::Limits;
use narun_nats::inbox::ReplyPolicy;

use crate::harness::connect;

/// More than tokio lets a task do in one poll, and fewer than the client's queue has room for.
const MANY: usize = 1000;

#[tokio::test]
async fn a_task_may_publish_more_in_one_poll_than_its_budget_has() {
    let client = connect().await;
    let opened =
        narun_nats::open(&client.clone().into(), ReplyPolicy::default(), Limits::default(), |_| {}).await;
    let (endpoint, reader) = opened.expect("an inbox");
    let reader = tokio::spawn(reader.run());
    let to = Subject::from_static("publishing.many");
    let mut messages = client.subscribe(to.clone()).await.expect("a subscription");
    endpoint.round_trip().await.expect("a server");
    // In one poll of this task: nothing is awaited.
    for number in 0..MANY {
        endpoint.publish_or_drop(to.clone(), Bytes::from(number.to_string()));
    }
    endpoint.round_trip().await.expect("a server");
    for number in 0..MANY {
        let received = tokio::time::timeout(std::time::Duration::from_secs(10), messages.next());
        let message =
            received.await.unwrap_or_else(|_| panic!("{number} were published")).expect("a message");
        assert_eq!(message.payload, number.to_string());
    }
    reader.abort();
}
