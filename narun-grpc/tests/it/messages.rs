//! PublishToStream, PullMessages, AckMessage and NakMessage.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use futures::{FutureExt, StreamExt};
use narun_grpc::pb::{
    AckMessageRequest, AckPolicy, ConsumerConfig, DeleteConsumerRequest, GetConsumerInfoRequest,
    JetStreamMessage, NakMessageRequest, PublishToStreamRequest, PullMessagesRequest, StreamConfig,
    UpdateStreamRequest,
};
use tonic::{Code, Request};

use crate::consumers::{consumer, durable};
use crate::harness::{GrpcClient, Service, connect, eventually, new_user, settle, soon};
use crate::streams::{create, named};

pub(crate) fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

pub(crate) async fn store(client: &GrpcClient, user: &str, data: &str) -> i64 {
    let request = PublishToStreamRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        subject: "s.a".into(),
        data: Bytes::copy_from_slice(data.as_bytes()),
        headers: [("A".to_owned(), "b".to_owned())].into(),
        ..Default::default()
    };
    let response = client.clone().publish_to_stream(request).await.expect("stored").into_inner();
    assert!(response.success);
    response.sequence
}

fn pull(user: &str, batch_size: i32, max_wait: Option<prost_types::Duration>) -> PullMessagesRequest {
    PullMessagesRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        batch_size,
        max_wait,
        ..Default::default()
    }
}

pub(crate) async fn pulled(client: &GrpcClient, user: &str, batch_size: i32) -> Vec<JetStreamMessage> {
    let request = pull(user, batch_size, Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 }));
    client.clone().pull_messages(request).await.expect("a pull").into_inner().messages
}

pub(crate) async fn ack(client: &GrpcClient, user: &str, sequence: i64, token: &str) -> Result<bool, Code> {
    let request = AckMessageRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        sequence,
        ack_token: token.to_owned(),
        ..Default::default()
    };
    let result = soon("a response", client.clone().ack_message(request)).await;
    result.map(|response| response.into_inner().success).map_err(|status| status.code())
}

pub(crate) async fn nak(client: &GrpcClient, user: &str, sequence: i64, token: &str) -> Result<bool, Code> {
    let request = NakMessageRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        sequence,
        ack_token: token.to_owned(),
        ..Default::default()
    };
    let result = soon("a response", client.clone().nak_message(request)).await;
    result.map(|response| response.into_inner().success).map_err(|status| status.code())
}

/// The ack floor: the contract does not report the number of unacknowledged messages.
pub(crate) async fn floor(client: &GrpcClient, user: &str) -> i64 {
    let request = GetConsumerInfoRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        ..Default::default()
    };
    let info = client.clone().get_consumer_info(request).await.unwrap().into_inner().consumer.unwrap();
    info.state.unwrap().ack_floor_seq
}

pub(crate) async fn prepared(ack_policy: AckPolicy) -> (Service, String) {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let config = ConsumerConfig { ack_policy: ack_policy.into(), ..durable("c") };
    service.client.create_consumer(consumer(&user, config)).await.unwrap();
    (service, user)
}

#[tokio::test]
async fn waiting_messages_come_at_once_with_all_fields() {
    let (service, user) = prepared(AckPolicy::AckExplicit).await;
    for number in 1..=3 {
        assert_eq!(store(&service.client, &user, &number.to_string()).await, number);
    }
    // It does not wait a year, as there are messages.
    let request = pull(&user, 10, seconds(365 * 24 * 3600));
    let messages = soon("messages", service.client.clone().pull_messages(request)).await.unwrap();
    let messages = messages.into_inner().messages;
    assert_eq!(messages.len(), 3);
    for (number, message) in (1..).zip(&messages) {
        assert_eq!((message.sequence, message.num_delivered), (number, 1));
        assert_eq!((message.subject.as_str(), &message.data[..]), ("s.a", number.to_string().as_bytes()));
        assert_eq!(message.headers, [("A".to_owned(), "b".to_owned())].into());
        let token = BASE64URL_NOPAD.decode(message.ack_token.as_bytes()).unwrap();
        let shown = format!("{message:?} {}", String::from_utf8_lossy(&token));
        assert!(!shown.contains(&user), "an internal name in {shown}");
        assert!(message.timestamp.is_some() && !message.ack_token.is_empty());
    }
    assert!(pulled(&service.client, &user, 10).await.is_empty());
}

#[tokio::test]
async fn a_pull_waits_for_a_message() {
    let (service, user) = prepared(AckPolicy::AckExplicit).await;
    let mut waiting = service.client.clone();
    let request = pull(&user, i32::MAX, seconds(60));
    let waiting = tokio::spawn(async move { waiting.pull_messages(request).await });
    store(&service.client, &user, "late").await;
    let messages = soon("a message", waiting).await.unwrap().unwrap().into_inner().messages;
    assert_eq!(messages.len(), 1);
}

#[tokio::test]
async fn a_batch_is_no_larger_than_requested() {
    let (service, user) = prepared(AckPolicy::AckExplicit).await;
    for _ in 0..12 {
        store(&service.client, &user, "x").await;
    }
    assert_eq!(pulled(&service.client, &user, 1).await.len(), 1);
    assert_eq!(pulled(&service.client, &user, 0).await.len(), 10);
    assert_eq!(pulled(&service.client, &user, -1).await.len(), 1);
}

#[tokio::test]
async fn a_batch_fits_a_response() {
    let (storing, user) = prepared(AckPolicy::AckExplicit).await;
    for _ in 0..10 {
        store(&storing.client, &user, &"x".repeat(10_000)).await;
    }
    let service = Service::with(|builder| builder.response_limit(64 << 10)).await;
    let mut sequences = Vec::new();
    for _ in 0..2 {
        let messages = pulled(&service.client, &user, 10).await;
        assert_eq!(messages.len(), 5);
        sequences.extend(messages.iter().map(|message| message.sequence));
    }
    assert_eq!(sequences, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_is_acknowledged_at_another_replica() {
    let (here, user) = prepared(AckPolicy::AckExplicit).await;
    let there = Service::start().await;
    for _ in 0..4 {
        store(&here.client, &user, "x").await;
    }
    let messages = pulled(&here.client, &user, 3).await;
    let token = |index: usize| messages[index].ack_token.as_str();
    // Here by token; there by sequence with a token that it cannot verify; there by sequence only.
    assert_eq!(ack(&here.client, &user, 0, token(0)).await, Ok(true));
    assert_eq!(ack(&there.client, &user, 2, token(1)).await, Ok(true));
    assert_eq!(ack(&there.client, &user, 3, "").await, Ok(true));
    assert_eq!(floor(&here.client, &user).await, 3);
    // Again, and a message that was never delivered.
    assert_eq!(ack(&there.client, &user, 3, "").await, Ok(true));
    assert_eq!(ack(&here.client, &user, 0, token(0)).await, Ok(true));
    assert_eq!(ack(&there.client, &user, 4, "").await, Ok(false));
    assert_eq!(ack(&there.client, &user, i64::MAX, "").await, Ok(false));
    assert_eq!(ack(&there.client, &user, 0, "").await, Err(Code::InvalidArgument));
    assert_eq!(ack(&there.client, &user, 0, token(1)).await, Err(Code::InvalidArgument));
    assert_eq!(ack(&there.client, &user, -1, "").await, Err(Code::InvalidArgument));
    // Another tenant has no such stream, even with the token.
    assert_eq!(ack(&here.client, &new_user(), 1, token(0)).await, Err(Code::NotFound));
    let last = pulled(&here.client, &user, 10).await;
    assert_eq!(last.iter().map(|message| message.sequence).collect::<Vec<_>>(), [4]);
}

#[tokio::test]
async fn replicas_with_the_same_key_accept_each_others_tokens() {
    let key =
        |builder: narun_grpc::NatsServiceBuilder<_>| builder.ack_token_key(*b"a secret of the replicas");
    let (here, there) = (Service::with(key).await, Service::with(key).await);
    let user = new_user();
    here.client.clone().create_stream(create(&user, named("s"))).await.unwrap();
    let config = ConsumerConfig { ack_policy: AckPolicy::AckAll.into(), ..durable("c") };
    here.client.clone().create_consumer(consumer(&user, config)).await.unwrap();
    for _ in 0..5 {
        store(&here.client, &user, "x").await;
    }
    let messages = pulled(&here.client, &user, 5).await;
    // Without a token no subject is synthesized: it would corrupt the consumer.
    assert_eq!(ack(&there.client, &user, 2, "").await, Err(Code::FailedPrecondition));
    assert_eq!(floor(&here.client, &user).await, 0);
    assert_eq!(ack(&there.client, &user, 0, &messages[2].ack_token).await, Ok(true));
    assert_eq!(floor(&here.client, &user).await, 3);
    // At the replica that delivered it, the sequence is enough.
    assert_eq!(ack(&here.client, &user, 5, "").await, Ok(true));
    assert_eq!(floor(&here.client, &user).await, 5);
}

#[tokio::test]
async fn messages_given_back_are_redelivered() {
    let (here, user) = prepared(AckPolicy::AckExplicit).await;
    let there = Service::start().await;
    for _ in 0..2 {
        store(&here.client, &user, "x").await;
    }
    let first = pulled(&here.client, &user, 2).await;
    assert_eq!(nak(&here.client, &user, 0, &first[0].ack_token).await, Ok(true));
    assert_eq!(nak(&there.client, &user, 2, "").await, Ok(true));
    let mut again = Vec::new();
    while again.len() < 2 {
        again.extend(pulled(&there.client, &user, 2).await);
    }
    again.sort_by_key(|message| message.sequence);
    assert_eq!(again.iter().map(|message| message.num_delivered).collect::<Vec<_>>(), [2, 2]);
    // The old token is still valid.
    assert_eq!(ack(&here.client, &user, 0, &first[0].ack_token).await, Ok(true));
    assert_eq!(ack(&there.client, &user, 2, "").await, Ok(true));
    assert_eq!(nak(&there.client, &user, 1, "").await, Ok(false));
    assert_eq!(nak(&there.client, &user, 9, "").await, Ok(false));
}

#[tokio::test]
async fn a_redelivered_message_is_acknowledged_by_its_first_token() {
    let (mut here, user) = (Service::start().await, new_user());
    let there = Service::start().await;
    here.client.create_stream(create(&user, named("s"))).await.unwrap();
    for (policy, name) in [(AckPolicy::AckExplicit, "c"), (AckPolicy::AckAll, "all")] {
        let config = ConsumerConfig { ack_wait: seconds(1), ack_policy: policy.into(), ..durable(name) };
        here.client.create_consumer(consumer(&user, config)).await.unwrap();
    }
    store(&here.client, &user, "x").await;
    let first = pulled(&here.client, &user, 1).await.remove(0);
    // It is not acknowledged in time.
    let mut again = Vec::new();
    eventually("it again", async || {
        again.extend(pulled(&there.client, &user, 1).await);
        !again.is_empty()
    })
    .await;
    assert_eq!((again[0].sequence, again[0].num_delivered), (1, 2));
    assert_eq!(ack(&here.client, &user, 1, &first.ack_token).await, Ok(true));
    assert_eq!(floor(&here.client, &user).await, 1);
    assert_eq!(ack(&there.client, &user, 1, &again[0].ack_token).await, Ok(true));
    assert_eq!(nak(&there.client, &user, 1, &again[0].ack_token).await, Ok(false));
    // The other consumer never delivered it, and takes acknowledgements by token only.
    let other = AckMessageRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        consumer_name: "all".into(),
        sequence: 1,
        ..Default::default()
    };
    let status = there.client.clone().ack_message(other).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_recreated_consumer_is_not_corrupted_by_old_acknowledgements() {
    // Concurrently: an acknowledgement that is not confirmed takes two seconds.
    tokio::join!(not_corrupted(AckPolicy::AckAll), not_corrupted(AckPolicy::AckExplicit));
}

async fn not_corrupted(policy: AckPolicy) {
    let (service, user) = prepared(policy).await;
    for _ in 0..5 {
        store(&service.client, &user, "x").await;
    }
    let old = pulled(&service.client, &user, 5).await;
    let delete = DeleteConsumerRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        ..Default::default()
    };
    let mut client = service.client.clone();
    client.delete_consumer(delete).await.unwrap();
    let config = ConsumerConfig { ack_policy: policy.into(), ..durable("c") };
    client.create_consumer(consumer(&user, config)).await.unwrap();
    assert_eq!(pulled(&service.client, &user, 1).await.len(), 1);
    // By sequence of a recent delivery, and by token.
    let (by_sequence, by_token) =
        tokio::join!(ack(&service.client, &user, 5, ""), ack(&service.client, &user, 0, &old[3].ack_token));
    assert_eq!((by_sequence, by_token), (Ok(false), Ok(false)), "{policy:?}");
    assert_eq!(floor(&service.client, &user).await, 0, "{policy:?}");
    let rest = pulled(&service.client, &user, 5).await;
    let rest: Vec<_> = rest.iter().map(|message| message.sequence).collect();
    assert_eq!(rest, [2, 3, 4, 5], "{policy:?}");
}

#[tokio::test]
async fn a_nak_delays_redelivery() {
    let (service, user) = prepared(AckPolicy::AckExplicit).await;
    store(&service.client, &user, "x").await;
    let message = pulled(&service.client, &user, 1).await.remove(0);
    let request = |delay| NakMessageRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        ack_token: message.ack_token.clone(),
        delay,
        ..Default::default()
    };
    let status = service.client.clone().nak_message(request(seconds(-1))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(service.client.clone().nak_message(request(seconds(3600))).await.unwrap().into_inner().success);
    assert!(pulled(&service.client, &user, 1).await.is_empty());
}

#[tokio::test]
async fn a_duplicate_returns_the_sequence_of_the_first_message() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    let request = PublishToStreamRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        subject: "s.a".into(),
        headers: [("Nats-Msg-Id".to_owned(), "one".to_owned())].into(),
        ..Default::default()
    };
    for expected in ["", "duplicate"] {
        let response = service.client.publish_to_stream(request.clone()).await.unwrap().into_inner();
        assert_eq!((response.sequence, response.message.as_str()), (1, expected));
    }
}

#[tokio::test]
async fn a_subject_of_another_stream_is_refused() {
    let (mut service, user) = (Service::start().await, new_user());
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    service.client.create_stream(create(&user, named("t"))).await.unwrap();
    let request = |stream: &str, subject: &str| PublishToStreamRequest {
        user_id: user.clone(),
        stream_name: stream.into(),
        subject: subject.into(),
        ..Default::default()
    };
    // A subscriber that does not reply.
    let nats = connect().await;
    let mut heard = nats.subscribe(format!("user.{user}.heard")).await.unwrap();
    settle(&nats).await;
    for (stream, subject, code) in [
        ("s", "t.a", Code::FailedPrecondition),
        ("s", "nowhere", Code::FailedPrecondition),
        ("s", "heard", Code::FailedPrecondition),
        ("none", "s.a", Code::NotFound),
        ("s", "s.>", Code::InvalidArgument),
        ("s.t", "s.a", Code::InvalidArgument),
    ] {
        let status = service.client.publish_to_stream(request(stream, subject)).await.unwrap_err();
        assert_eq!(status.code(), code, "{stream} {subject}: {status:?}");
    }
    settle(&nats).await;
    assert!(heard.next().now_or_never().is_none());
    let limit = service.service.connection().client().max_payload();
    let large = PublishToStreamRequest { data: vec![0; limit].into(), ..request("s", "s.a") };
    let status = service.client.publish_to_stream(large).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn changed_subjects_of_a_stream_count_at_once() {
    let (mut service, user) = (Service::start().await, new_user());
    let mut there = Service::start().await;
    service.client.create_stream(create(&user, named("s"))).await.unwrap();
    store(&service.client, &user, "x").await;
    let update = UpdateStreamRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        config: Some(StreamConfig { subjects: vec!["t".into()], ..Default::default() }),
        ..Default::default()
    };
    there.client.update_stream(update).await.unwrap();
    let request = PublishToStreamRequest {
        user_id: user.clone(),
        stream_name: "s".into(),
        subject: "t".into(),
        ..Default::default()
    };
    assert_eq!(service.client.publish_to_stream(request).await.unwrap().into_inner().sequence, 2);
}

#[tokio::test]
async fn a_pull_without_messages_is_refused_or_empty() {
    let (service, user) = prepared(AckPolicy::AckNone).await;
    let mut client = service.client.clone();
    let missing = PullMessagesRequest { consumer_name: "none".into(), ..pull(&user, 1, seconds(5)) };
    assert_eq!(client.pull_messages(missing).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.pull_messages(pull(&new_user(), 1, None)).await.unwrap_err().code(), Code::NotFound);
    let negative = client.pull_messages(pull(&user, 1, seconds(-5))).await.unwrap().into_inner();
    assert!(negative.messages.is_empty());
    store(&service.client, &user, "x").await;
    // The consumer has a stored message a little later.
    eventually("a message", async || {
        let at_once = client.clone().pull_messages(pull(&user, 1, seconds(0))).await.unwrap().into_inner();
        at_once.messages.len() == 1
    })
    .await;
    assert_eq!(nak(&service.client, &user, 1, "").await, Err(Code::FailedPrecondition));
    // The deadline of the call limits a wait of a year.
    for (batch, wait) in [(i32::MAX, seconds(365 * 24 * 3600)), (i32::MIN, seconds(i64::MAX))] {
        let mut long = Request::new(pull(&user, batch, wait));
        long.set_timeout(Duration::from_millis(300));
        match soon("the end of a year", client.pull_messages(long)).await {
            Ok(response) => assert!(response.into_inner().messages.is_empty()),
            Err(status) => {
                assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
            }
        }
    }
    // A waiting pull whose client leaves holds no message back.
    let leaving = client.pull_messages(pull(&user, 1, seconds(60)));
    assert!(tokio::time::timeout(Duration::from_millis(50), leaving).await.is_err());
}
