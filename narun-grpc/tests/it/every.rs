//! A request of each unary method, for a user with a stream, a consumer, a key and an object.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use narun_grpc::SERVICE;
use narun_grpc::pb::{
    AckMessageRequest, CreateStreamRequest, DeleteConsumerRequest, DeleteStreamRequest,
    GetConsumerInfoRequest, GetStatisticsRequest, GetStreamInfoRequest, GetStreamStatsRequest,
    KvDeleteRequest, KvGetRequest, KvHistoryRequest, KvKeysRequest, KvPutRequest, ListConsumersRequest,
    ListStreamsRequest, NakMessageRequest, NatsHealthCheckRequest, NatsMessage, ObjectDeleteRequest,
    ObjectGetRequest, ObjectListRequest, ObjectPutRequest, PublishBatchRequest, PublishRequest,
    PublishToStreamRequest, PullMessagesRequest, PurgeStreamRequest, RequestRequest, StreamConfig,
    UnsubscribeRequest, UpdateStreamRequest,
};
use prost::Message;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::consumers::{consumer, durable};
use crate::harness::soon;
use crate::hostile::Raw;

/// How long an attempt of [`retry`] may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Creates what the requests use: streams, a consumer, a bucket with a key, and one with an object.
pub(crate) async fn prepare(channel: &Channel, user: &str) {
    for (method, request) in requests(user) {
        if ["CreateStream", "CreateConsumer", "KVPut", "ObjectPut", "PublishToStream"].contains(&method) {
            call(channel, method, request).await.expect(method);
        }
    }
}

/// The requests. Without a failure, none of them takes long.
pub(crate) fn requests(user: &str) -> Vec<(&'static str, Bytes)> {
    let user_id = || user.to_owned();
    let (stream_name, consumer_name) = (|| "s".to_owned(), || "c".to_owned());
    let (bucket, key) = (|| "b".to_owned(), || "k".to_owned());
    let subject = || "s.a".to_owned();
    let wait = Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 });
    let data = Bytes::from_static(b"x");
    // On disk, to outlive the server.
    let config = |name: &str| {
        Some(StreamConfig {
            name: name.to_owned(),
            // The same as in UpdateStream.
            max_msgs: 1000,
            subjects: vec![format!("{name}.>")],
            ..Default::default()
        })
    };
    macro_rules! requests {
        ($($method:literal: $request:ident { $($field:ident: $value:expr),* },)*) => {
            vec![$(($method, $request { user_id: user_id(), $($field: $value,)* ..Default::default() }.encode_to_vec().into())),*]
        };
    }
    let mut requests: Vec<(&'static str, Bytes)> = requests! {
        "CreateStream": CreateStreamRequest { config: config("s") },
        "CreateStream": CreateStreamRequest { config: config("t") },
        "Publish": PublishRequest { subject: "a".into(), data: data.clone() },
        "PublishBatch": PublishBatchRequest {
            messages: vec![NatsMessage { subject: "a".into(), ..Default::default() }; 3]
        },
        "Unsubscribe": UnsubscribeRequest { subject: "nothing".into() },
        "Request": RequestRequest { subject: "nobody".into(), timeout: wait },
        "DeleteStream": DeleteStreamRequest { stream_name: "none".into() },
        "GetStreamInfo": GetStreamInfoRequest { stream_name: stream_name() },
        "ListStreams": ListStreamsRequest {},
        "UpdateStream": UpdateStreamRequest {
            stream_name: "t".into(), config: Some(StreamConfig { max_msgs: 1000, ..Default::default() })
        },
        "PurgeStream": PurgeStreamRequest { stream_name: "t".into() },
        "DeleteConsumer": DeleteConsumerRequest { stream_name: stream_name(), consumer_name: "none".into() },
        "GetConsumerInfo": GetConsumerInfoRequest { stream_name: stream_name(), consumer_name: consumer_name() },
        "ListConsumers": ListConsumersRequest { stream_name: stream_name() },
        "PublishToStream": PublishToStreamRequest { stream_name: stream_name(), subject: subject(), data: data.clone() },
        "PullMessages": PullMessagesRequest {
            stream_name: stream_name(), consumer_name: consumer_name(), batch_size: 1, max_wait: wait
        },
        "AckMessage": AckMessageRequest { stream_name: stream_name(), consumer_name: consumer_name(), sequence: 1_000_000 },
        "NakMessage": NakMessageRequest { stream_name: stream_name(), consumer_name: consumer_name(), sequence: 1_000_000 },
        "KVPut": KvPutRequest { bucket: bucket(), key: key(), value: data.clone() },
        "KVGet": KvGetRequest { bucket: bucket(), key: key() },
        "KVDelete": KvDeleteRequest { bucket: bucket(), key: "none".into() },
        "KVKeys": KvKeysRequest { bucket: bucket() },
        "KVHistory": KvHistoryRequest { bucket: bucket(), key: key() },
        "ObjectPut": ObjectPutRequest { bucket: bucket(), object_name: "o".into(), data: data.clone() },
        "ObjectGet": ObjectGetRequest { bucket: bucket(), object_name: "o".into() },
        "ObjectDelete": ObjectDeleteRequest { bucket: bucket(), object_name: "none".into() },
        "ObjectList": ObjectListRequest { bucket: bucket() },
        "GetStatistics": GetStatisticsRequest {},
        "GetStreamStats": GetStreamStatsRequest { stream_name: stream_name() },
    };
    requests.insert(2, ("CreateConsumer", consumer(user, durable("c")).encode_to_vec().into()));
    requests.push(("HealthCheck", NatsHealthCheckRequest { deep_check: true }.encode_to_vec().into()));
    requests
}

/// Calls a unary method, without a deadline.
pub(crate) async fn call(channel: &Channel, method: &str, request: Bytes) -> Result<Bytes, Status> {
    send(channel, method, Request::new(request)).await
}

/// Calls a unary method.
pub(crate) async fn send(channel: &Channel, method: &str, request: Request<Bytes>) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path = PathAndQuery::try_from(format!("/{SERVICE}/{method}")).expect("a path");
    client.unary(request, path, Raw).await.map(tonic::Response::into_inner)
}

/// What a test and the calls that it has retried know of each other.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Whether a successful call that starts now is the last one.
    pub(crate) last: AtomicBool,
    /// The number of calls that have ended, whether they succeeded or not.
    pub(crate) ended: AtomicUsize,
}

/// Calls a method again and again with this time limit, until a call succeeds that started when it could be the last.
pub(crate) async fn insist(
    channel: Channel,
    method: &'static str,
    request: Bytes,
    limit: Duration,
    progress: Arc<Progress>,
) {
    loop {
        let last = progress.last.load(Ordering::Acquire);
        let mut request = Request::new(request.clone());
        request.set_timeout(limit);
        let result = soon(method, send(&channel, method, request)).await;
        progress.ended.fetch_add(1, Ordering::AcqRel);
        match result {
            Ok(_) if last => return,
            Ok(_) => {}
            Err(status) => pause_after(method, &status).await,
        }
    }
}

/// Retries a call until it succeeds, for a minute: while a cluster elects a leader, a call fails, or is never answered.
pub(crate) async fn retry<T>(what: &str, call: impl AsyncFn() -> Result<T, Status>) -> T {
    soon(what, async {
        loop {
            match timeout(ATTEMPT, call()).await {
                Ok(Ok(response)) => return response,
                Ok(Err(status)) => pause_after(what, &status).await,
                Err(_) => {}
            }
        }
    })
    .await
}

/// Pauses before a retry. Panics if the failure is not one that a lost server or leader explains.
async fn pause_after(what: &str, status: &Status) {
    let expected = [Code::Unavailable, Code::DeadlineExceeded, Code::Cancelled];
    // The object is stored again and again meanwhile.
    let changed = what == "ObjectGet" && status.code() == Code::Aborted;
    assert!(changed || expected.contains(&status.code()), "{what}: {status:?}");
    tokio::time::sleep(Duration::from_millis(5)).await;
}
