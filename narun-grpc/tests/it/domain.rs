//! A service at a leaf node, with the JetStream domain of the hub.

use std::net::TcpListener;

use narun_grpc::pb::{
    AckMessageRequest, KvDeleteRequest, KvGetRequest, KvHistoryRequest, KvOperation, KvPutRequest,
    KvWatchRequest, ListStreamsRequest, ObjectGetRequest, PullMessagesRequest,
};
use narun_support::Server;

use crate::every::{call, prepare, requests};
use crate::harness::{Service, channel, soon};
use crate::objects;
use crate::restarts::serve;
use crate::streams::store;

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A hub, and a leaf node with this configuration.
fn servers(leaf: &str) -> (Server, Server) {
    let port = free_port();
    let hub = "server_name: hub\njetstream { domain: hub, max_file_store: 1TB, max_memory_store: 1TB }";
    let hub = format!("{hub}\nleafnodes {{ listen: \"127.0.0.1:{port}\" }}");
    let leaf = format!(
        "server_name: leaf\n{leaf}\nleafnodes {{ remotes: [{{ url: \"nats-leaf://127.0.0.1:{port}\" }}] }}"
    );
    let hub = Server::builder().config(hub).start().expect("a nats-server");
    (hub, Server::builder().config(leaf).start().expect("a nats-server"))
}

/// Waits until the leaf node has a connection to the hub.
async fn connected(leaf: &Server) {
    let nats = async_nats::connect(leaf.url()).await.expect("a connection");
    crate::harness::eventually("the hub", async || nats.request("$JS.hub.API.INFO", "".into()).await.is_ok())
        .await;
}

async fn does_everything(service: &Service, user: &str) {
    let channel = channel(&service.url).await;
    soon("all", prepare(&channel, user)).await;
    for (method, request) in requests(user) {
        soon(method, call(&channel, method, request)).await.expect(method);
    }
    let mut client = service.client.clone();
    let (user_id, bucket, key) = (|| user.to_owned(), || "b".to_owned(), || "k".to_owned());
    let watch = KvWatchRequest { user_id: user_id(), bucket: bucket(), key: key(), ..Default::default() };
    let mut watch = client.kv_watch(watch).await.unwrap().into_inner();
    let mut next = async || loop {
        let entry = soon("an entry", watch.message()).await.unwrap().unwrap();
        if !entry.up_to_date {
            return entry.operation();
        }
    };
    let put = |expected_revision| KvPutRequest {
        user_id: user_id(),
        bucket: bucket(),
        key: key(),
        value: "y".into(),
        expected_revision,
        ..Default::default()
    };
    let delete = |purge| KvDeleteRequest {
        user_id: user_id(),
        bucket: bucket(),
        key: key(),
        purge,
        ..Default::default()
    };
    assert_eq!(next().await, KvOperation::OperationPut);
    let revision = client.kv_put(put(None)).await.unwrap().into_inner().revision;
    assert_eq!(next().await, KvOperation::OperationPut);
    assert!(client.kv_put(put(Some(revision))).await.unwrap().into_inner().success);
    assert_eq!(next().await, KvOperation::OperationPut);
    assert!(client.kv_delete(delete(false)).await.unwrap().into_inner().success);
    assert_eq!(next().await, KvOperation::OperationDelete);
    assert!(client.kv_put(put(Some(0))).await.unwrap().into_inner().success);
    assert_eq!(next().await, KvOperation::OperationPut);
    assert!(client.kv_delete(delete(true)).await.unwrap().into_inner().success);
    assert_eq!(next().await, KvOperation::OperationPurge);
    let history = KvHistoryRequest { user_id: user_id(), bucket: bucket(), key: key(), ..Default::default() };
    assert_eq!(client.kv_history(history).await.unwrap().into_inner().entries.len(), 1);
    let get = KvGetRequest { user_id: user_id(), bucket: bucket(), key: key(), ..Default::default() };
    assert!(!client.kv_get(get).await.unwrap().into_inner().found);

    // More chunks than are read one by one.
    let data = vec![7; 1_000_000];
    client.object_put(objects::put(user, "large", data.clone())).await.unwrap();
    let get = ObjectGetRequest {
        user_id: user_id(),
        bucket: bucket(),
        object_name: "large".into(),
        ..Default::default()
    };
    assert!(client.object_get(get).await.unwrap().into_inner().data == data);

    store(&client, user, "s.a", "last").await;
    let pull = PullMessagesRequest {
        user_id: user_id(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        batch_size: 100,
        ..Default::default()
    };
    let pulled = client.pull_messages(pull).await.unwrap().into_inner().messages;
    let last = pulled.last().expect("a message");
    assert_eq!(last.data, "last");
    for ack_token in [last.ack_token.clone(), String::new()] {
        let ack = AckMessageRequest {
            user_id: user_id(),
            stream_name: "s".into(),
            consumer_name: "c".into(),
            sequence: last.sequence,
            ack_token,
            ..Default::default()
        };
        assert!(client.ack_message(ack).await.unwrap().into_inner().success);
    }
}

#[tokio::test]
async fn a_leaf_node_without_jetstream_uses_the_hub() {
    let (_hub, leaf) = servers("");
    connected(&leaf).await;
    does_everything(&serve(&leaf, |builder| builder.jetstream_domain("hub")).await, "u").await;
}

#[tokio::test]
async fn a_leaf_node_with_jetstream_uses_the_domain_of_the_hub() {
    let (_hub, leaf) = servers("jetstream { domain: leaf, max_file_store: 1TB, max_memory_store: 1TB }");
    connected(&leaf).await;
    let there = serve(&leaf, |builder| builder.jetstream_domain("hub")).await;
    does_everything(&there, "u").await;
    // Another user: messages that are no keys are stored by the streams of both domains that have their subject.
    let here = serve(&leaf, |builder| builder).await;
    does_everything(&here, "v").await;
    for (service, user) in [(&there, "v"), (&here, "u")] {
        let streams = ListStreamsRequest { user_id: user.into(), ..Default::default() };
        let streams = service.client.clone().list_streams(streams).await.unwrap().into_inner().streams;
        assert!(streams.is_empty(), "{streams:?}");
    }
}
