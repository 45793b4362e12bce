//! A cluster of three servers with three replicas of everything, one of which dies.

use std::sync::Arc;
use std::sync::atomic::Ordering;
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
use crate::every::{Progress, call, insist, retry};
use crate::harness::{Service, channel, eventually, new_user, soon};
use crate::streams::{create, named};

fn replicated(name: &str, replicas: i32) -> StreamConfig {
    StreamConfig { replicas, ..named(name) }
}

/// Requests of methods that use replicated streams and buckets.
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

/// The number of servers with a replica of a NATS stream.
async fn servers(nats: &async_nats::Client, stream: &str) -> usize {
    let jetstream = jetstream::new(nats.clone());
    let mut servers = 0;
    // Without a leader, the request is not answered.
    eventually("the state of a stream", async || {
        let Ok(stream) = jetstream.get_stream(stream).await else { return false };
        let info = stream.cached_info();
        assert_eq!(
            info.config.num_replicas,
            info.cluster.as_ref().map_or(0, |cluster| cluster.replicas.len() + 1)
        );
        servers = info.config.num_replicas;
        true
    })
    .await;
    servers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicated_data_outlives_a_server() {
    let mut cluster = block_in_place(Cluster::start).expect("a cluster");
    let nats = async_nats::connect(cluster.urls()).await.expect("a connection");
    let three = BucketSettings::new().replicas(3);
    let service = NatsService::builder(nats.clone()).authenticator(TrustRequest::new());
    let service = Service::serve(service.kv_buckets(three).object_buckets(three).build()).await;
    let client = &service.client;
    let channel = channel(&service.url).await;

    // A new stream or consumer has no leader at first.
    let create_stream =
        async |replicas, name| client.clone().create_stream(create("u", replicated(name, replicas))).await;
    let made = retry("CreateStream", async || create_stream(3, "s").await).await.into_inner().stream.unwrap();
    assert_eq!(made.config.unwrap().replicas, 3);
    retry("CreateConsumer", async || client.clone().create_consumer(consumer("u", durable("c"))).await).await;
    for (method, request) in requests() {
        retry(method, async || call(&channel, method, request.clone()).await).await;
    }
    for stream in ["user-u-s", "KV_kv-user-u-b", "OBJ_obj-user-u-b"] {
        assert_eq!(servers(&nats, stream).await, 3, "{stream}");
    }

    // From one replica to three, and back.
    retry("CreateStream", async || create_stream(1, "t").await).await;
    for replicas in [3, 1] {
        let config = Some(StreamConfig { replicas, ..Default::default() });
        let update = UpdateStreamRequest {
            user_id: "u".into(),
            stream_name: "t".into(),
            config,
            ..Default::default()
        };
        let updated =
            retry("UpdateStream", async || client.clone().update_stream(update.clone()).await).await;
        let updated = updated.into_inner().stream.unwrap();
        assert_eq!(updated.config.unwrap().replicas, replicas);
    }

    // The leader of the stream dies.
    let progress = Arc::<Progress>::default();
    let mut calls = JoinSet::new();
    for (method, request) in requests() {
        calls.spawn(insist(channel.clone(), method, request, Duration::from_secs(2), progress.clone()));
    }
    let mut leader = None;
    eventually("a leader", async || {
        leader = block_in_place(|| cluster.stream_leader("user-u-s"));
        leader.is_some()
    })
    .await;
    let leader = leader.expect("a leader");
    block_in_place(|| cluster.server(leader).kill()).expect("a dead server");
    progress.last.store(true, Ordering::Release);
    soon("all methods", calls.join_all()).await;

    // Nothing that was confirmed before is lost.
    let mut responses = Vec::new();
    for (method, request) in requests() {
        responses.push(retry(method, async || call(&channel, method, request.clone()).await).await);
    }
    let info = GetStreamInfoResponse::decode(responses[1].clone()).unwrap().stream.unwrap();
    assert!(info.state.unwrap().last_seq >= 2);
    // It is not confirmed while the consumer has no leader.
    let (method, request) = requests().swap_remove(3);
    eventually("an acknowledgement", async || {
        let acknowledged = retry(method, async || call(&channel, method, request.clone()).await).await;
        AckMessageResponse::decode(acknowledged).unwrap().success
    })
    .await;
    assert!(KvGetResponse::decode(responses[5].clone()).unwrap().found);
    assert!(ObjectGetResponse::decode(responses[7].clone()).unwrap().found);
}

#[tokio::test]
async fn a_single_server_refuses_replicas() {
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
