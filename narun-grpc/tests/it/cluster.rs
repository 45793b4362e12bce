//! Three servers that keep everything three times, one of which dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{
    AckMessageRequest, AckMessageResponse, GetStreamInfoRequest, GetStreamInfoResponse, KvGetRequest,
    KvGetResponse, KvPutRequest, ObjectGetRequest, ObjectGetResponse, ObjectPutRequest,
    PublishToStreamRequest, PullMessagesRequest, StreamConfig, UpdateStreamRequest,
};
use narun_grpc::{BucketSettings, NatsService};
use narun_support::Cluster;
use prost::Message;
use tokio::task::{JoinSet, block_in_place};
use tonic::Code;

use crate::consumers::{consumer, durable};
use crate::every::{call, insist};
use crate::harness::{Service, channel, new_user, soon};
use crate::streams::{create, named};

fn replicated(name: &str, replicas: i32) -> StreamConfig {
    StreamConfig { replicas, ..named(name) }
}

/// Requests of methods that use what is kept three times.
fn requests() -> Vec<(&'static str, Bytes)> {
    let user_id = || "u".to_owned();
    let data = Bytes::from_static(b"x");
    macro_rules! requests {
        ($($method:literal: $request:ident { $($field:ident: $value:expr),* },)*) => {
            vec![$(($method, $request { user_id: user_id(), $($field: $value,)* ..Default::default() }.encode_to_vec().into())),*]
        };
    }
    requests! {
        "PublishToStream": PublishToStreamRequest { stream_name: "s".into(), subject: "s.a".into(), data: data.clone() },
        "GetStreamInfo": GetStreamInfoRequest { stream_name: "s".into() },
        "PullMessages": PullMessagesRequest { stream_name: "s".into(), consumer_name: "c".into(), batch_size: 1 },
        "AckMessage": AckMessageRequest { stream_name: "s".into(), consumer_name: "c".into(), sequence: 1 },
        "KVPut": KvPutRequest { bucket: "b".into(), key: "k".into(), value: data.clone() },
        "KVGet": KvGetRequest { bucket: "b".into(), key: "k".into() },
        "ObjectPut": ObjectPutRequest { bucket: "b".into(), object_name: "o".into(), data: data.clone() },
        "ObjectGet": ObjectGetRequest { bucket: "b".into(), object_name: "o".into() },
    }
}

/// On how many servers a stream of NATS's is.
async fn servers(nats: &async_nats::Client, stream: &str) -> usize {
    let mut stream = jetstream::new(nats.clone()).get_stream(stream).await.expect("a stream");
    let info = stream.info().await.expect("its state");
    assert_eq!(
        info.config.num_replicas,
        info.cluster.as_ref().map_or(0, |cluster| cluster.replicas.len() + 1)
    );
    info.config.num_replicas
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_three_times_outlives_a_server() {
    let mut cluster = block_in_place(Cluster::start).expect("a cluster");
    let nats = async_nats::connect(cluster.urls()).await.expect("a connection");
    let three = BucketSettings::new().replicas(3);
    let service = NatsService::builder(nats.clone()).authenticator(TrustRequest::new());
    let service = Service::serve(service.kv_buckets(three).object_buckets(three).build()).await;
    let mut client = service.client.clone();
    let channel = channel(&service.url).await;

    let made =
        client.create_stream(create("u", replicated("s", 3))).await.unwrap().into_inner().stream.unwrap();
    assert_eq!(made.config.unwrap().replicas, 3);
    client.create_consumer(consumer("u", durable("c"))).await.unwrap();
    for (method, request) in requests() {
        call(&channel, method, request).await.expect(method);
    }
    for stream in ["user-u-s", "KV_kv-user-u-b", "OBJ_obj-user-u-b"] {
        assert_eq!(servers(&nats, stream).await, 3, "{stream}");
    }

    // From one server to three, and back.
    client.create_stream(create("u", replicated("t", 1))).await.unwrap();
    for replicas in [3, 1] {
        let config = Some(StreamConfig { replicas, ..Default::default() });
        let update = UpdateStreamRequest {
            user_id: "u".into(),
            stream_name: "t".into(),
            config,
            ..Default::default()
        };
        let updated = client.update_stream(update).await.unwrap().into_inner().stream.unwrap();
        assert_eq!(updated.config.unwrap().replicas, replicas);
    }

    // The one that leads the stream dies.
    let dead = Arc::<AtomicBool>::default();
    let mut calls = JoinSet::new();
    for (method, request) in requests() {
        calls.spawn(insist(channel.clone(), method, request, Duration::from_secs(2), dead.clone()));
    }
    let leader = block_in_place(|| cluster.stream_leader("user-u-s")).expect("a leader");
    block_in_place(|| cluster.server(leader).kill()).expect("a dead server");
    dead.store(true, Ordering::Release);
    soon("all methods", calls.join_all()).await;

    // Nothing of what was confirmed before is gone.
    let mut answers = Vec::new();
    for (method, request) in requests() {
        answers.push(call(&channel, method, request).await.expect(method));
    }
    let info = GetStreamInfoResponse::decode(answers[1].clone()).unwrap().stream.unwrap();
    assert!(info.state.unwrap().last_seq >= 2);
    assert!(AckMessageResponse::decode(answers[3].clone()).unwrap().success);
    assert!(KvGetResponse::decode(answers[5].clone()).unwrap().found);
    assert!(ObjectGetResponse::decode(answers[7].clone()).unwrap().found);
}

#[tokio::test]
async fn one_server_keeps_nothing_three_times() {
    let three = BucketSettings::new().replicas(3);
    let (mut service, user) =
        (Service::with(|builder| builder.kv_buckets(three).object_buckets(three)).await, new_user());
    let status = service.client.create_stream(create(&user, replicated("s", 3))).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("cluster"), "{}", status.message());
    let put =
        KvPutRequest { user_id: user.clone(), bucket: "b".into(), key: "k".into(), ..Default::default() };
    assert_eq!(service.client.kv_put(put).await.unwrap_err().code(), Code::FailedPrecondition);
    let put =
        ObjectPutRequest { user_id: user, bucket: "b".into(), object_name: "o".into(), ..Default::default() };
    assert_eq!(service.client.object_put(put).await.unwrap_err().code(), Code::FailedPrecondition);
}
