//! PullMessages at a consumer that has as many unacknowledged messages as it may have.

use narun_grpc::pb::{AckMessageRequest, ConsumerConfig, JetStreamMessage, PullMessagesRequest};

use crate::consumers::{consumer, durable};
use crate::harness::{GrpcClient, Service, eventually, new_user, soon};
use crate::streams::{create, named, store};

async fn prepare(service: &Service, user: &str, config: ConsumerConfig, messages: usize) {
    let mut client = service.client.clone();
    client.create_stream(create(user, named("s"))).await.unwrap();
    client.create_consumer(consumer(user, config)).await.unwrap();
    for _ in 0..messages {
        store(&client, user, "s.a", "x").await;
    }
}

async fn pull(client: &GrpcClient, user: &str, seconds: i64) -> Vec<JetStreamMessage> {
    let pull = PullMessagesRequest {
        user_id: user.into(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        max_wait: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    soon("a pull", client.clone().pull_messages(pull)).await.unwrap().into_inner().messages
}

async fn acknowledge(client: &GrpcClient, user: &str, message: &JetStreamMessage) {
    let ack = AckMessageRequest {
        user_id: user.into(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        sequence: message.sequence,
        ..Default::default()
    };
    assert!(client.clone().ack_message(ack).await.unwrap().into_inner().success);
}

fn sequences(messages: &[JetStreamMessage]) -> Vec<i64> {
    messages.iter().map(|message| message.sequence).collect()
}

#[tokio::test]
async fn a_pull_ends_with_as_many_messages_as_may_be_unacknowledged() {
    let (service, user) = (Service::start().await, new_user());
    prepare(&service, &user, ConsumerConfig { max_ack_pending: 2, ..durable("c") }, 5).await;
    let client = &service.client;
    // The server itself would never end the pull.
    let pulled = pull(client, &user, 50).await;
    assert_eq!(sequences(&pulled), [1, 2]);
    // As many as may be are unacknowledged: there is nothing to take.
    assert_eq!(sequences(&pull(client, &user, 1).await), [0; 0]);
    // A waiting pull gets what is acknowledged elsewhere.
    let waiting = tokio::spawn({
        let (client, user) = (client.clone(), user.clone());
        async move { pull(&client, &user, 50).await }
    });
    acknowledge(client, &user, &pulled[0]).await;
    acknowledge(client, &user, &pulled[1]).await;
    let mut others = sequences(&soon("messages", waiting).await.unwrap());
    eventually("the other message", async || {
        others.extend(sequences(&pull(client, &user, 1).await));
        others.len() == 2
    })
    .await;
    assert_eq!(others, [3, 4]);
}

#[tokio::test]
async fn a_message_is_in_a_response_once() {
    let (service, user) = (Service::start().await, new_user());
    // It is delivered again while the pull gets no other one.
    let ack_wait = Some(prost_types::Duration { seconds: 0, nanos: 10_000_000 });
    let config = ConsumerConfig { max_ack_pending: 1, ack_wait, ..durable("c") };
    prepare(&service, &user, config, 3).await;
    for _ in 0..3 {
        assert_eq!(sequences(&pull(&service.client, &user, 1).await), [1]);
    }
}
