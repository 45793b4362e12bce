//! Attacks of a tenant on another one, and on the service.

mod requests;
mod stealing;
mod steering;

use std::collections::BTreeSet;

use async_nats::jetstream;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use narun_grpc::NatsService;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{
    ConsumerConfig, CreateConsumerRequest, DeleteStreamRequest, GetStreamInfoRequest, KvDeleteRequest,
    KvEntry, KvGetRequest, KvKeysRequest, KvPutRequest, ListConsumersRequest, MessageResponse, NatsMessage,
    ObjectDeleteRequest, ObjectGetRequest, ObjectListRequest, PublishBatchRequest, PublishRequest,
    PublishToStreamRequest, QueueSubscribeRequest, RequestRequest, StreamConfig, SubscribeRequest,
    UnsubscribeRequest, UpdateStreamRequest,
};
use narun_support::Server;
use tonic::{Code, Response, Status, Streaming};

use self::requests::{consume, history, kv_put, list, object_put, pull, watch};
use self::stealing::steal_from;
use self::steering::steer;
use crate::consumers::{consumer, durable};
use crate::harness::{Service, settle, soon};
use crate::streams::{create, named, publish, store};

/// The victim, and a user whose id is a prefix of its id.
const VICTIM: &str = "ann";

/// Ids that resemble the victim's.
const IDS: [&str; 22] = [
    "*", ">", "an", "anna", "ann.", "ann.>", "ann-", "ann-s", "ann ", " ann", "ANN", "ann\0", "ann\r\n",
    "an*", "_61nn", "ann_", "ann_2d", "user.ann", "user-ann", "ann/", "../ann", "ánn",
];

/// A victim with a stream, buckets and subscriptions on its own server, and their expected contents.
struct Victim {
    server: Server,
    service: Service,
    stream: Streaming<MessageResponse>,
    watch: Streaming<KvEntry>,
    token: String,
}

impl Victim {
    async fn start() -> Self {
        let server = Server::builder().jetstream(true).start().expect("a nats-server");
        let nats = async_nats::connect(server.url()).await.unwrap();
        let builder = NatsService::builder(nats).authenticator(TrustRequest::new());
        let service = Service::serve(builder.build()).await;
        let mut client = service.client.clone();
        client.create_stream(create(VICTIM, named("s"))).await.unwrap();
        client.create_consumer(consumer(VICTIM, durable("c"))).await.unwrap();
        store(&client, VICTIM, "s.a", "mine").await;
        store(&client, VICTIM, "s.a", "mine too").await;
        let messages = client.pull_messages(pull(VICTIM)).await.unwrap().into_inner().messages;
        client.kv_put(kv_put(VICTIM, "b", "k")).await.unwrap();
        client.object_put(object_put(VICTIM, "b", "o")).await.unwrap();
        let subscribe =
            SubscribeRequest { user_id: VICTIM.into(), subject: ">".into(), ..Default::default() };
        let stream = client.subscribe(subscribe).await.unwrap().into_inner();
        let mut watch = client.kv_watch(watch(VICTIM, "b", "")).await.unwrap().into_inner();
        assert_eq!(soon("an entry", watch.message()).await.unwrap().unwrap().value, VICTIM);
        assert!(soon("an entry", watch.message()).await.unwrap().unwrap().up_to_date);
        Self { server, service, stream, watch, token: messages[0].ack_token.clone() }
    }

    /// Checks that everything is unchanged, and that only messages sent from now on arrive.
    async fn must_be_unharmed(mut self) {
        let mut client = self.service.client.clone();
        publish(&client, VICTIM, "own", "own").await;
        let message = soon("a message", self.stream.message()).await.unwrap().unwrap();
        assert_eq!((message.subject.as_str(), message.sequence), ("own", 1));
        let streams = client.list_streams(list(VICTIM)).await.unwrap().into_inner().streams;
        let [stream] = streams.as_slice() else { panic!("{streams:?}") };
        let state = stream.state.as_ref().unwrap();
        assert_eq!((state.messages, state.last_seq, state.consumer_count), (2, 2, 1));
        assert_eq!(stream.config.as_ref().unwrap().subjects, ["s.>"]);
        let list =
            ListConsumersRequest { user_id: VICTIM.into(), stream_name: "s".into(), ..Default::default() };
        let consumers = client.list_consumers(list).await.unwrap().into_inner().consumers;
        let state = consumers[0].state.as_ref().unwrap();
        assert_eq!((state.delivered_seq, state.ack_floor_seq, state.num_redelivered), (2, 0, 0));
        let get = KvGetRequest {
            user_id: VICTIM.into(),
            bucket: "b".into(),
            key: "k".into(),
            ..Default::default()
        };
        let entry = client.kv_get(get).await.unwrap().into_inner();
        assert_eq!((&entry.value[..], entry.revision), (VICTIM.as_bytes(), 1));
        let keys = KvKeysRequest { user_id: VICTIM.into(), bucket: "b".into(), ..Default::default() };
        assert_eq!(client.kv_keys(keys).await.unwrap().into_inner().keys, ["k"]);
        let objects = ObjectListRequest { user_id: VICTIM.into(), bucket: "b".into(), ..Default::default() };
        let objects = client.object_list(objects).await.unwrap().into_inner().objects;
        assert_eq!(objects.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["o"]);
        client.kv_put(kv_put(VICTIM, "b", "own")).await.unwrap();
        let entry = soon("an entry", self.watch.message()).await.unwrap().unwrap();
        assert_eq!((entry.key.as_str(), entry.revision), ("own", 2));
        let context = jetstream::new(async_nats::connect(self.server.url()).await.unwrap());
        let names: BTreeSet<_> = context.stream_names().map(Result::unwrap).collect().await;
        let own: Vec<_> = names.iter().filter(|name| name.contains("user-ann-")).collect();
        assert_eq!(own, ["KV_kv-user-ann-b", "OBJ_obj-user-ann-b", "user-ann-s"]);
    }
}

/// The result of an attack. A refusal is as good as reaching one's own names only.
fn tried<T>(result: Result<Response<T>, Status>) -> Option<T> {
    match result {
        Ok(response) => Some(response.into_inner()),
        Err(status) => {
            let refused = [
                Code::InvalidArgument,
                Code::NotFound,
                Code::FailedPrecondition,
                Code::AlreadyExists,
                Code::Aborted,
            ];
            assert!(refused.contains(&status.code()), "{status:?}");
            assert!(!status.message().contains("user."), "{status:?}");
            None
        }
    }
}

#[tokio::test]
async fn hostile_ids_reach_no_other_tenant() {
    let victim = Victim::start().await;
    let mut client = victim.service.client.clone();
    for id in IDS {
        let subscribe = SubscribeRequest { user_id: id.into(), subject: ">".into(), ..Default::default() };
        let mut stream = client.subscribe(subscribe).await.unwrap().into_inner();
        assert_eq!(client.list_streams(list(id)).await.unwrap().into_inner().streams, [], "{id:?}");
        for (bucket, key) in [("b", "k"), ("s-b", "k")] {
            let (user_id, bucket) = (id.to_owned(), bucket.to_owned());
            let get = KvGetRequest {
                user_id: user_id.clone(),
                bucket: bucket.clone(),
                key: key.into(),
                ..Default::default()
            };
            assert!(!client.kv_get(get).await.unwrap().into_inner().found, "{id:?}");
            let object_name = "o".to_owned();
            let get = ObjectGetRequest { user_id, bucket: bucket.clone(), object_name, ..Default::default() };
            assert!(!client.object_get(get).await.unwrap().into_inner().found, "{id:?}");
            assert_eq!(client.kv_history(history(id, &bucket, key)).await.unwrap().into_inner().entries, []);
            let status = client.kv_watch(watch(id, &bucket, key)).await.unwrap_err();
            assert_eq!(status.code(), Code::NotFound, "{id:?}");
            // It does not exist at any revision.
            let expecting =
                |revision| KvPutRequest { expected_revision: Some(revision), ..kv_put(id, &bucket, key) };
            assert_eq!(client.kv_put(expecting(1)).await.unwrap_err().code(), Code::Aborted, "{id:?}");
            client.kv_put(expecting(0)).await.unwrap();
            for key in [key, ""] {
                let mut watch = client.kv_watch(watch(id, &bucket, key)).await.unwrap().into_inner();
                let entry = soon("an entry", watch.message()).await.unwrap().unwrap();
                assert_eq!((&entry.value[..], entry.revision), (id.as_bytes(), 1), "{id:?}");
                assert!(soon("an entry", watch.message()).await.unwrap().unwrap().up_to_date);
            }
            client.object_put(object_put(id, &bucket, "o")).await.unwrap();
        }
        let status = client.consume_messages(consume(id, "s")).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{id:?}");
        client.create_stream(create(id, named("s"))).await.unwrap();
        store(&client, id, "s.a", id).await;
        let message = soon("a message", stream.message()).await.unwrap().unwrap();
        assert_eq!((message.subject.as_str(), &message.data[..]), ("s.a", id.as_bytes()));
        let get = GetStreamInfoRequest { user_id: id.into(), stream_name: "s".into(), ..Default::default() };
        let reported = client.get_stream_info(get).await.unwrap().into_inner().stream.unwrap();
        assert_eq!(reported.state.unwrap().messages, 1, "{id:?}");
    }
    for user in ["", &"u".repeat(241), &"_".repeat(81), &"u".repeat(1 << 20)] {
        let request = PublishRequest { user_id: user.to_owned(), subject: "a".into(), ..Default::default() };
        let status = client.publish(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{}", user.len());
    }
    victim.must_be_unharmed().await;
}

/// A tenant tries all methods of the contract on names of another tenant and of the service itself:
///
/// - to publish (also in a batch, as a request and to a stream) to the other's full subjects, to those of its key-value
///   and object buckets, of JetStream's API (delete, purge, deletion of a message, an acknowledgement) and of the system,
///   to inboxes, and to the control subject of replicas;
/// - to have replies sent there (`reply_to`), or acknowledgements of its own stream;
/// - to subscribe to these, alone and in a hostile queue group, and to end the other's subscriptions;
/// - to create streams that capture these, with the other's full names or names that begin or end like them, and to
///   update an own stream so that it does;
/// - to create consumers that filter these, on the other's stream and on its own, and with names that continue the
///   subject of a JetStream request;
/// - to read, purge, update and delete the other's stream, to pull and consume from its consumer, and to acknowledge and
///   give back its messages, by sequence and by token;
/// - to put, read, list, watch and delete in buckets with the other's names, in full and in part;
/// - to control JetStream by headers: all that it knows, in upper and lower case, and by line breaks in a value, a name, a
///   subject and a queue group.
#[tokio::test]
async fn no_tenant_reaches_another_tenant_or_the_service() {
    let mut victim = Victim::start().await;
    let mut client = victim.service.client.clone();
    client.create_stream(create("eve", named("own"))).await.unwrap();
    // Everything that the service publishes from now on.
    let spy = async_nats::connect(victim.server.url()).await.unwrap();
    let mut heard = spy.subscribe(">").await.unwrap();
    settle(&spy).await;

    let subjects = [
        "user.ann.a",
        "user.ann.>",
        "$KV.kv-user-ann-b.k",
        "$KV.kv-user-ann-b.>",
        "$O.obj-user-ann-b.M.bw==",
        "$O.obj-user-ann-b.>",
        "$JS.API.STREAM.DELETE.user-ann-s",
        "$JS.API.STREAM.PURGE.user-ann-s",
        "$JS.API.STREAM.MSG.DELETE.user-ann-s",
        "$JS.API.CONSUMER.MSG.NEXT.user-ann-s.c",
        "$JS.ACK.user-ann-s.c.1.1.1.1.1",
        "$JS.API.>",
        "$SYS.REQ.SERVER.PING",
        "$SYS.>",
        "_INBOX.>",
        "_INBOX.a",
        "narun.grpc.unsubscribe",
        ">",
        "*.ann.>",
        "..ann.a",
        "a\r\nPUB user.ann.a 1\r\nx\r\n",
        "a b",
    ];
    for subject in subjects {
        let publish = PublishRequest {
            user_id: "eve".into(),
            subject: subject.into(),
            reply_to: "user.ann.replies".into(),
            data: Bytes::from_static(b"x user.ann.>"),
            ..Default::default()
        };
        tried(client.publish(publish.clone()).await);
        let reply_to = subject.to_owned();
        tried(client.publish(PublishRequest { subject: "own.a".into(), reply_to, ..publish }).await);
        let message = NatsMessage { subject: subject.into(), ..Default::default() };
        let batch =
            PublishBatchRequest { user_id: "eve".into(), messages: vec![message], ..Default::default() };
        tried(client.publish_batch(batch).await);
        let request = RequestRequest {
            user_id: "eve".into(),
            subject: subject.into(),
            timeout: Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 }),
            ..Default::default()
        };
        // Only its own stream may respond.
        let replied = tried(client.request(request).await).filter(|response| response.success);
        assert!(replied.is_none_or(|response| !response.data.starts_with(b"{\"type\"")), "{subject}");
        for stream_name in ["own", "s", "user-ann-s", "KV_kv-user-ann-b"] {
            let publish = PublishToStreamRequest {
                user_id: "eve".into(),
                stream_name: stream_name.into(),
                subject: subject.into(),
                ..Default::default()
            };
            // Its own two streams may capture it by now, within its own subjects.
            let stored = tried(client.publish_to_stream(publish).await).is_some();
            assert!(!stored || ["own", "s"].contains(&stream_name), "{stream_name} {subject}");
        }
        for queue_group in ["group", "group 1\r\nSUB user.ann.> 2", "user.ann.>"] {
            let subscribe = QueueSubscribeRequest {
                user_id: "eve".into(),
                subject: subject.into(),
                queue_group: queue_group.into(),
                ..Default::default()
            };
            tried(client.queue_subscribe(subscribe).await);
        }
        let unsubscribe =
            UnsubscribeRequest { user_id: "eve".into(), subject: subject.into(), ..Default::default() };
        tried(client.unsubscribe(unsubscribe).await);
        // Among others, with the name of the victim's stream.
        for (number, name) in
            ["s", "user-ann-s", "ann-s", "KV_kv-user-ann-b", "-", "_"].into_iter().enumerate()
        {
            let config = StreamConfig { name: name.into(), subjects: vec![subject.into()], ..named(name) };
            if tried(client.create_stream(create("eve", config)).await).is_some() && number > 0 {
                let delete = DeleteStreamRequest {
                    user_id: "eve".into(),
                    stream_name: name.into(),
                    ..Default::default()
                };
                assert!(client.delete_stream(delete).await.unwrap().into_inner().success);
            }
        }
        let config =
            Some(StreamConfig { subjects: vec![subject.into(), "own.>".into()], ..Default::default() });
        let (user_id, stream_name) = ("eve".to_owned(), "own".to_owned());
        tried(
            client
                .update_stream(UpdateStreamRequest { user_id, stream_name, config, ..Default::default() })
                .await,
        );
        for stream_name in ["own", "user-ann-s"] {
            for name in ["c", "c.user.ann.>", "ann-s.c", ">"] {
                let config = ConsumerConfig { filter_subject: subject.into(), ..durable(name) };
                let create = CreateConsumerRequest {
                    user_id: "eve".into(),
                    stream_name: stream_name.into(),
                    config: Some(config),
                    ..Default::default()
                };
                let made = tried(client.create_consumer(create).await);
                assert!(
                    made.is_none() || (stream_name, name) == ("own", "c"),
                    "{stream_name} {name} {subject}"
                );
            }
        }
        for (bucket, key) in [("b", subject), (subject, "k")] {
            let (user_id, bucket) = ("eve".to_owned(), bucket.to_owned());
            tried(client.kv_put(kv_put("eve", &bucket, key)).await);
            tried(client.object_put(object_put("eve", &bucket, key)).await);
            let delete = KvDeleteRequest {
                user_id: user_id.clone(),
                bucket: bucket.clone(),
                key: key.into(),
                ..Default::default()
            };
            tried(client.kv_delete(delete.clone()).await);
            tried(client.kv_delete(KvDeleteRequest { purge: true, ..delete }).await);
            for revision in [0, 1] {
                let put = KvPutRequest { expected_revision: Some(revision), ..kv_put("eve", &bucket, key) };
                tried(client.kv_put(put).await);
            }
            for entry in tried(client.kv_history(history("eve", &bucket, key)).await)
                .into_iter()
                .flat_map(|history| history.entries)
            {
                assert_ne!(entry.value, VICTIM, "{bucket} {key}");
            }
            if let Some(mut watch) = tried(client.kv_watch(watch("eve", &bucket, key)).await) {
                let entry = soon("an entry", watch.message()).await.unwrap().unwrap();
                assert_ne!(entry.value, VICTIM, "{bucket} {key}");
            }
            let object_name = key.to_owned();
            tried(
                client
                    .object_delete(ObjectDeleteRequest { user_id, bucket, object_name, ..Default::default() })
                    .await,
            );
        }
    }
    steal_from(&mut client, &victim.token).await;
    steer(&mut client).await;
    forbid(&spy, &mut heard).await;
    assert!(victim.stream.message().now_or_never().is_none());
    victim.must_be_unharmed().await;
}

/// Checks that no message went to the victim's subjects, to the system, or to the control subject for another tenant.
async fn forbid(spy: &async_nats::Client, heard: &mut async_nats::Subscriber) {
    settle(spy).await;
    let mut count = 0;
    while let Some(Some(message)) = heard.next().now_or_never() {
        count += 1;
        let subject = message.subject.as_str();
        let own = ["user.eve.", "user.mallory.", "_INBOX.", "$KV.kv-user-eve-", "$O.obj-user-eve-"];
        let asked = || {
            let name = subject.split('.').find(|token| token.contains("user-")).unwrap_or("user-eve-");
            let name = name.trim_start_matches("KV_kv-").trim_start_matches("OBJ_obj-");
            name.starts_with("user-eve-") || name.starts_with("user-mallory-")
        };
        let reported = std::str::from_utf8(&message.payload).unwrap_or_default();
        let allowed = match subject {
            "narun.grpc.unsubscribe" => {
                reported.split_once(' ').is_some_and(|(_, ended)| ended.starts_with("user.eve."))
            }
            // Without a subject it counts buckets, which NATS cannot filter by name.
            _ if subject.starts_with("$JS.API.STREAM.LIST") => {
                reported.contains("user.eve.") || !reported.contains("subject")
            }
            _ if subject.starts_with("$JS.") => asked(),
            _ => own.iter().any(|own| subject.starts_with(own)),
        };
        assert!(allowed, "{subject} {reported}");
        let reply = message.reply.as_deref().unwrap_or("_INBOX.");
        // The last is the reply subject of messages that NATS delivers to a watch.
        assert!(
            ["_INBOX.", "user.eve.", "$JS.ACK.KV_kv-user-eve-"].iter().any(|own| reply.starts_with(own)),
            "{subject} {reply}"
        );
    }
    assert!(count > 100, "{count}");
}
