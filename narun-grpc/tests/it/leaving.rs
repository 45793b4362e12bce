//! Pulls whose clients leave.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use narun_grpc::NatsService;
use narun_grpc::pb::nats_service_server::NatsService as _;
use narun_grpc::pb::{ConsumerConfig, PullMessagesRequest};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::timeout;
use tonic::Request;

use crate::consumers::{consumer, durable};
use crate::harness::{Service, new_user, soon};
use crate::streams::{create, named, publish, store};

/// The number of pulls at a time, and of messages.
const PULLS: usize = 8;
const MESSAGES: usize = 400;

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn pull(user: &str, batch_size: i32) -> Request<PullMessagesRequest> {
    Request::new(PullMessagesRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        batch_size,
        max_wait: seconds(100),
        ..Default::default()
    })
}

/// A user with a stream and a consumer with a long `ack_wait`.
async fn prepared() -> (Service, String) {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let config = ConsumerConfig { ack_wait: seconds(600), ..durable("c") };
    service.client.create_consumer(consumer(&user, config)).await.unwrap();
    (service, user)
}

/// Pulls as the gRPC server does: a client that leaves drops the future.
async fn take(service: &NatsService, user: &str, batch_size: i32) -> HashSet<i64> {
    let response = service.pull_messages(pull(user, batch_size)).await.expect("a pull").into_inner();
    response.messages.iter().map(|message| message.sequence).collect()
}

/// Takes the remaining messages, long before `ack_wait` has elapsed.
async fn take_all(service: &NatsService, user: &str, mut taken: HashSet<i64>) {
    while taken.len() < MESSAGES {
        taken.extend(soon("what is left", take(service, user, 100)).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_on_their_way_to_a_client_that_left_go_to_others() {
    let (service, user) = prepared().await;
    let publishing = tokio::spawn({
        let (client, user) = (service.client.clone(), user.clone());
        async move {
            for _ in 0..MESSAGES {
                publish(&client, &user, "s.a", "x").await;
            }
        }
    });
    let mut taken = HashSet::new();
    let mut random = StdRng::seed_from_u64(1);
    let mut pulls = FuturesUnordered::new();
    let mut left = 0;
    while !publishing.is_finished() {
        while pulls.len() < PULLS {
            let patience = Duration::from_micros(random.random_range(0..3000));
            let batch = [1, 3, 1000][random.random_range(0..3)];
            pulls.push(timeout(patience, take(&service.service, &user, batch)));
        }
        match soon("a pull", pulls.next()).await {
            Some(Ok(messages)) => taken.extend(messages),
            _ => left += 1,
        }
    }
    publishing.await.expect("all published");
    drop(pulls);
    assert!(left > 0, "no client has left");
    take_all(&service.service, &user, taken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pulled_for_a_client_that_left_go_to_others() {
    let (service, user) = prepared().await;
    let messages = (0..MESSAGES).map(|_| store(&service.client, &user, "s.a", "x"));
    join_all(messages).await;
    let mut taken = HashSet::new();
    for patience in (0..5000).step_by(500) {
        let pull = timeout(Duration::from_micros(patience), take(&service.service, &user, 1000));
        taken.extend(pull.await.into_iter().flatten());
    }
    take_all(&service.service, &user, taken).await;
}
