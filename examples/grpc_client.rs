//! A client that calls every method of `grpc_server` at least once, and prints and checks the responses.
//!
//! ```text
//! cargo run --example grpc_server
//! cargo run --example grpc_client -- --server http://127.0.0.1:50056
//! ```
//!
//! It ends with an error, and exit code 1, if a response is not as expected. It deletes all that it makes, except for two
//! empty buckets, `settings` and `files`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use clap::Parser;
use narun_examples::say;
use narun_grpc::pb::nats_service_client::NatsServiceClient;
use narun_grpc::pb::{self, KvEntry, KvOperation, MessageResponse};
use tokio::time::timeout;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

/// How long an expected message may take.
const SOON: Duration = Duration::from_secs(10);

/// Calls all methods of NATS over gRPC.
#[derive(Parser)]
struct Args {
    /// The server.
    #[arg(long, env = "GRPC_URL", default_value = "http://127.0.0.1:50056")]
    server: String,
    /// The user.
    #[arg(long, default_value = "example")]
    user: String,
    /// The user's token, if the server authenticates its clients.
    #[arg(long, env = "GRPC_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Adds the token, if there is one, to each call.
#[derive(Clone)]
struct Bearer(Option<AsciiMetadataValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

/// A client of one user.
struct Client {
    grpc: NatsServiceClient<InterceptedService<Channel, Bearer>>,
    user: String,
    /// The suffix of all names, so that leftovers of another run do not matter.
    run: String,
}

/// Calls a method with these fields, and the user.
macro_rules! call {
    ($client:expr, $method:ident, $request:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        $client
            .grpc
            .$method(pb::$request { user_id: $client.user.clone(), $($field $(: $value)?,)* ..Default::default() })
            .await
            .context(stringify!($method))?
            .into_inner()
    };
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    narun_examples::log_from(tracing::level_filters::LevelFilter::WARN);
    narun_examples::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(args.server)?.connect().await.context("cannot reach the server")?;
    let bearer =
        args.token.map(|token| AsciiMetadataValue::try_from(format!("Bearer {token}"))).transpose()?;
    let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis().to_string();
    let grpc = NatsServiceClient::with_interceptor(channel, Bearer(bearer));
    let mut client = Client { grpc, user: args.user, run };
    client.health().await?;
    client.publish_and_subscribe().await?;
    client.request().await?;
    client.streams().await?;
    client.messages().await?;
    client.keys().await?;
    client.objects().await?;
    client.statistics().await?;
    say!("every call succeeded");
    Ok(())
}

impl Client {
    fn name(&self, beginning: &str) -> String {
        format!("{beginning}{}", self.run)
    }

    async fn health(&mut self) -> anyhow::Result<()> {
        let request = pb::NatsHealthCheckRequest { deep_check: true };
        let health = self.grpc.health_check(request).await?.into_inner();
        ensure!(health.healthy && health.jetstream_enabled, "not healthy: {health:?}");
        say!("health: {}, with JetStream", health.nats_status);
        Ok(())
    }

    async fn publish_and_subscribe(&mut self) -> anyhow::Result<()> {
        let events = self.name("events");
        let mut all = call!(self, subscribe, SubscribeRequest { subject: format!("{events}.>") });
        let one_queue = || (format!("{events}.*"), "workers".to_owned());
        let (subject, queue_group) = one_queue();
        let mut queue = call!(self, queue_subscribe, QueueSubscribeRequest { subject, queue_group });

        let headers = [("Kind".to_owned(), "greeting".to_owned())].into();
        let subject = format!("{events}.one");
        let sent =
            call!(self, publish, PublishRequest { subject: subject.clone(), data: "hello".into(), headers });
        ensure!(sent.success, "not published: {sent:?}");
        for stream in [&mut all, &mut queue] {
            let message = next(stream).await?;
            ensure!(message.subject == subject && message.data == "hello", "another message: {message:?}");
            ensure!(
                message.headers.get("Kind").is_some_and(|kind| kind == "greeting"),
                "no header: {message:?}"
            );
        }
        say!("publish, subscribe, queue subscribe: {subject}");

        let messages = (0..10).map(|number| pb::NatsMessage {
            subject: format!("{events}.{number}"),
            data: number.to_string().into(),
            ..Default::default()
        });
        let batch = call!(self, publish_batch, PublishBatchRequest { messages: messages.collect() });
        ensure!(batch.success && batch.published_count == 10, "not all published: {batch:?}");
        for number in 0..10 {
            let message = next(&mut all).await?;
            ensure!(message.data == number.to_string(), "not in order: {message:?}");
        }
        say!("batch: {} messages, in order", batch.published_count);

        let ended = call!(self, unsubscribe, UnsubscribeRequest { subject: format!("{events}.>") });
        ensure!(ended.success, "not unsubscribed");
        let end = timeout(SOON, all.message()).await.context("the stream did not end")??;
        ensure!(end.is_none(), "a message after the last: {end:?}");
        say!("unsubscribe: the stream has ended");
        Ok(())
    }

    async fn request(&mut self) -> anyhow::Result<()> {
        let subject = self.name("service");
        let mut work = call!(self, subscribe, SubscribeRequest { subject: subject.clone() });
        let (mut responder, user_id) = (self.grpc.clone(), self.user.clone());
        let respond = async {
            let message = next(&mut work).await?;
            let (subject, data) = (message.reply_to, [b"echo ", &message.data[..]].concat().into());
            let reply = pb::PublishRequest { user_id, subject, data, ..Default::default() };
            responder.publish(reply).await.context("publish the reply")?;
            anyhow::Ok(())
        };
        let ask = async {
            Ok(call!(self, request, RequestRequest { subject: subject.clone(), data: "hi".into() }))
        };
        let ((), reply) = tokio::try_join!(respond, ask)?;
        ensure!(reply.success && reply.data == "echo hi", "another reply: {reply:?}");
        let failed = call!(self, request, RequestRequest { subject: self.name("unused") });
        ensure!(!failed.success, "a reply without a responder: {failed:?}");
        say!("request: echo hi; without a responder: {}", failed.error_message);
        Ok(())
    }

    async fn streams(&mut self) -> anyhow::Result<()> {
        let name = self.name("orders");
        let mut config = pb::StreamConfig {
            name: name.clone(),
            subjects: vec![format!("{name}.>")],
            max_msgs: 1000,
            ..Default::default()
        };
        let created = call!(self, create_stream, CreateStreamRequest { config: Some(config.clone()) });
        ensure!(created.success, "no stream: {created:?}");
        let info = call!(self, get_stream_info, GetStreamInfoRequest { stream_name: name.clone() });
        let info = info.stream.and_then(|stream| stream.config).context("no information")?;
        ensure!(info.name == name && info.subjects == config.subjects, "another stream: {info:?}");
        let listed = call!(self, list_streams, ListStreamsRequest {}).streams;
        ensure!(listed.iter().any(|stream| stream.name == name), "not listed: {listed:?}");
        config.max_msgs = 2000;
        let (stream_name, config) = (name.clone(), Some(config));
        let updated = call!(self, update_stream, UpdateStreamRequest { stream_name, config });
        let limit = updated.stream.and_then(|stream| stream.config).map(|config| config.max_msgs);
        ensure!(updated.success && limit == Some(2000), "not updated: {limit:?}");
        say!("streams: {name} created, listed, updated");
        Ok(())
    }

    async fn messages(&mut self) -> anyhow::Result<()> {
        let (stream_name, consumer_name) = (self.name("orders"), "billing".to_owned());
        let subject = format!("{stream_name}.new");
        for number in 1..=3 {
            let (stream_name, subject) = (stream_name.clone(), subject.clone());
            let data = number.to_string().into();
            let stored =
                call!(self, publish_to_stream, PublishToStreamRequest { stream_name, subject, data });
            ensure!(stored.success && stored.sequence == number, "not stored: {stored:?}");
        }
        let config = Some(pb::ConsumerConfig { durable_name: consumer_name.clone(), ..Default::default() });
        let named = stream_name.clone();
        let created = call!(self, create_consumer, CreateConsumerRequest { stream_name: named, config });
        ensure!(created.success, "no consumer: {created:?}");
        let named = stream_name.clone();
        let listed = call!(self, list_consumers, ListConsumersRequest { stream_name: named }).consumers;
        ensure!(listed.len() == 1 && listed[0].name == consumer_name, "other consumers: {listed:?}");

        let pulled = self.pull(&stream_name, &consumer_name, 3).await?;
        let [one, two, three] = &pulled[..] else { anyhow::bail!("not three messages: {pulled:?}") };
        ensure!(one.data == "1" && one.subject == subject && one.num_delivered == 1, "another: {one:?}");
        // By sequence alone, and by the token of the message.
        for (sequence, ack_token) in [(one.sequence, String::new()), (two.sequence, two.ack_token.clone())] {
            let (stream_name, consumer_name) = (stream_name.clone(), consumer_name.clone());
            let acked = call!(
                self,
                ack_message,
                AckMessageRequest { stream_name, consumer_name, sequence, ack_token }
            );
            ensure!(acked.success, "not acknowledged: {sequence}");
        }
        let (stream, consumer, sequence) = (stream_name.clone(), consumer_name.clone(), three.sequence);
        let nak = call!(
            self,
            nak_message,
            NakMessageRequest { stream_name: stream, consumer_name: consumer, sequence }
        );
        ensure!(nak.success, "not given back: {sequence}");
        let again = self.pull(&stream_name, &consumer_name, 1).await?;
        ensure!(
            again.len() == 1 && again[0].data == "3" && again[0].num_delivered == 2,
            "another: {again:?}"
        );
        let (stream, consumer) = (stream_name.clone(), consumer_name.clone());
        let info = call!(
            self,
            get_consumer_info,
            GetConsumerInfoRequest { stream_name: stream, consumer_name: consumer }
        );
        let state = info.consumer.and_then(|consumer| consumer.state).context("no state")?;
        ensure!(state.ack_floor_seq == 2 && state.num_pending == 0, "another state: {state:?}");
        say!("messages: 3 stored and pulled, 2 acknowledged, 1 given back and delivered again");
        self.consume(&stream_name, &consumer_name, again[0].ack_token.clone()).await?;
        let (stream, consumer) = (stream_name, consumer_name);
        let deleted = call!(
            self,
            delete_consumer,
            DeleteConsumerRequest { stream_name: stream, consumer_name: consumer }
        );
        ensure!(deleted.success, "the consumer is not deleted");
        Ok(())
    }

    /// Consumes messages as they come: one that is delivered again, and one that is stored meanwhile.
    async fn consume(&mut self, stream: &str, consumer: &str, token: String) -> anyhow::Result<()> {
        let named = || (stream.to_owned(), consumer.to_owned());
        let (stream_name, consumer_name) = named();
        let mut messages = call!(
            self,
            consume_messages,
            ConsumeMessagesRequest { stream_name, consumer_name, max_in_flight: 10 }
        );
        let ((stream_name, consumer_name), ack_token) = (named(), token);
        let nak = call!(self, nak_message, NakMessageRequest { stream_name, consumer_name, ack_token });
        ensure!(nak.success, "not given back");
        let (stream_name, subject) = (stream.to_owned(), format!("{stream}.new"));
        call!(self, publish_to_stream, PublishToStreamRequest { stream_name, subject, data: "4".into() });
        let mut seen = Vec::new();
        for _ in 0..2 {
            let message = timeout(SOON, messages.message()).await.context("no message came")??;
            let message = message.context("the stream ended")?;
            let ((stream_name, consumer_name), ack_token) = (named(), message.ack_token);
            let acked = call!(self, ack_message, AckMessageRequest { stream_name, consumer_name, ack_token });
            ensure!(acked.success, "not acknowledged: {}", message.sequence);
            seen.push((message.sequence, message.num_delivered));
        }
        seen.sort_unstable();
        ensure!(seen == [(3, 3), (4, 1)], "other messages: {seen:?}");
        say!("messages: consumed as they came, acknowledged: {seen:?} (sequence, deliveries)");
        Ok(())
    }

    async fn pull(
        &mut self,
        stream: &str,
        consumer: &str,
        count: i32,
    ) -> anyhow::Result<Vec<pb::JetStreamMessage>> {
        let (stream_name, consumer_name) = (stream.to_owned(), consumer.to_owned());
        let max_wait = Some(prost_types::Duration { seconds: 5, nanos: 0 });
        let batch_size = count;
        let pulled = call!(
            self,
            pull_messages,
            PullMessagesRequest { stream_name, consumer_name, batch_size, max_wait }
        );
        Ok(pulled.messages)
    }

    async fn keys(&mut self) -> anyhow::Result<()> {
        let (bucket, key) = ("settings".to_owned(), self.name("colour of/the sky "));
        let named = || (bucket.clone(), key.clone());
        let (b, k) = named();
        let put = call!(self, kv_put, KvPutRequest { bucket: b, key: k, value: "blue".into() });
        ensure!(put.success && put.revision > 0, "not put: {put:?}");
        let (b, k) = named();
        let got = call!(self, kv_get, KvGetRequest { bucket: b, key: k });
        ensure!(got.found && got.value == "blue" && got.revision == put.revision, "another value: {got:?}");
        let keys = call!(self, kv_keys, KvKeysRequest { bucket: bucket.clone() }).keys;
        ensure!(keys.contains(&key), "other keys: {keys:?}");
        let (b, k) = named();
        ensure!(call!(self, kv_delete, KvDeleteRequest { bucket: b, key: k }).success, "not deleted");
        let (b, k) = named();
        ensure!(!call!(self, kv_get, KvGetRequest { bucket: b, key: k }).found, "found, though deleted");
        say!("keys: {key} put, got, listed, deleted");
        self.watch().await
    }

    /// Changes a watched key, each time with the expected revision.
    async fn watch(&mut self) -> anyhow::Result<()> {
        let (bucket, key) = ("settings".to_owned(), self.name("size "));
        let named = || (bucket.clone(), key.clone());
        // 0 is the revision of a key that does not exist.
        let first = self.put_at(&key, "1", 0).await?;
        let again = self.put_at(&key, "1", 0).await.map_err(|status| status.code());
        ensure!(again == Err(Code::AlreadyExists), "made twice: {again:?}");
        let (b, k) = named();
        let mut entries = call!(self, kv_watch, KvWatchRequest { bucket: b, key: k });
        // The bucket keeps one entry of a key, so a watcher misses an entry that is replaced before it was sent.
        let mut seen = vec![next_entry(&mut entries).await?, next_entry(&mut entries).await?];
        let second = self.put_at(&key, "2", first).await?;
        seen.push(next_entry(&mut entries).await?);
        let late = self.put_at(&key, "3", first).await.map_err(|status| status.code());
        ensure!(late == Err(Code::Aborted), "put over what was not seen: {late:?}");
        let (b, k) = named();
        let expected_revision = Some(second);
        let purged =
            call!(self, kv_delete, KvDeleteRequest { bucket: b, key: k, expected_revision, purge: true });
        ensure!(purged.success, "not purged");
        seen.push(next_entry(&mut entries).await?);
        ensure!(seen == ["1", "up to date", "2", "purged"], "other entries: {seen:?}");
        let (b, k) = named();
        let history = call!(self, kv_history, KvHistoryRequest { bucket: b, key: k }).entries;
        ensure!(history.len() == 1 && history[0].revision > second, "another history: {history:?}");
        say!("keys: {key} watched: {}; its history: {} entry", seen.join(", "), history.len());
        Ok(())
    }

    async fn put_at(&mut self, key: &str, value: &'static str, revision: i64) -> Result<i64, Status> {
        let put = pb::KvPutRequest {
            user_id: self.user.clone(),
            bucket: "settings".into(),
            key: key.to_owned(),
            value: value.into(),
            expected_revision: Some(revision),
            ..Default::default()
        };
        Ok(self.grpc.kv_put(put).await?.into_inner().revision)
    }

    async fn objects(&mut self) -> anyhow::Result<()> {
        let (bucket, name) = ("files".to_owned(), self.name("reports/"));
        let named = || (bucket.clone(), name.clone());
        let metadata = || [("author".to_owned(), "ann".to_owned())].into();
        let (b, n) = named();
        let put = call!(
            self,
            object_put,
            ObjectPutRequest { bucket: b, object_name: n, data: "all good".into(), metadata: metadata() }
        );
        ensure!(put.success, "not put: {put:?}");
        let (b, n) = named();
        let got = call!(self, object_get, ObjectGetRequest { bucket: b, object_name: n });
        ensure!(got.found && got.data == "all good" && got.metadata == metadata(), "another object: {got:?}");

        // In chunks, so that an object may be larger than any message.
        let (b, n) = named();
        let chunk = |data: Vec<u8>| pb::ObjectChunk { data: data.into(), ..Default::default() };
        let first =
            pb::ObjectChunk { user_id: self.user.clone(), bucket: b, object_name: n, ..Default::default() };
        let chunks = [first].into_iter().chain((0..40).map(move |number| chunk(vec![number; 100_000])));
        let chunks: Vec<_> = chunks.collect();
        let up = self.grpc.object_upload(futures::stream::iter(chunks)).await?.into_inner();
        ensure!(up.success, "not put: {up:?}");
        let (b, n) = named();
        let mut down = call!(self, object_download, ObjectGetRequest { bucket: b, object_name: n });
        let mut size = 0;
        while let Some(chunk) = timeout(SOON, down.message()).await.context("no more comes")?? {
            for byte in &chunk.data {
                ensure!(usize::from(*byte) == size / 100_000, "another byte at {size}");
                size += 1;
            }
        }
        ensure!(size == 4_000_000, "{size} bytes");
        let listed = call!(self, object_list, ObjectListRequest { bucket: bucket.clone() }).objects;
        let listed_size = listed.iter().find(|object| object.name == name).map(|object| object.size);
        ensure!(listed_size == Some(4_000_000), "not listed: {listed:?}");
        let (b, n) = named();
        ensure!(
            call!(self, object_delete, ObjectDeleteRequest { bucket: b, object_name: n }).success,
            "not deleted"
        );
        say!("objects: {name} put, got, up- and downloaded ({size} bytes), listed, deleted");
        Ok(())
    }

    async fn statistics(&mut self) -> anyhow::Result<()> {
        let stream_name = self.name("orders");
        let named = stream_name.clone();
        let stats = call!(self, get_stream_stats, GetStreamStatsRequest { stream_name: named });
        ensure!(stats.messages == 4, "other statistics: {stats:?}");
        let all = call!(self, get_statistics, GetStatisticsRequest {});
        ensure!(all.total_streams >= 1 && all.in_msgs >= 14, "other statistics: {all:?}");
        say!("statistics: {} streams, {} messages in, {} out", all.total_streams, all.in_msgs, all.out_msgs);
        let named = stream_name.clone();
        let purged = call!(self, purge_stream, PurgeStreamRequest { stream_name: named });
        ensure!(purged.success && purged.purged_count == 4, "not purged: {purged:?}");
        let named = stream_name.clone();
        ensure!(
            call!(self, delete_stream, DeleteStreamRequest { stream_name: named }).success,
            "not deleted"
        );
        let again = call!(self, delete_stream, DeleteStreamRequest { stream_name });
        ensure!(!again.success, "deleted twice");
        say!("purge: {} messages; delete: the stream is gone", purged.purged_count);
        Ok(())
    }
}

async fn next(stream: &mut Streaming<MessageResponse>) -> anyhow::Result<MessageResponse> {
    let message = timeout(SOON, stream.message()).await.context("no message came")??;
    message.context("the stream ended")
}

async fn next_entry(entries: &mut Streaming<KvEntry>) -> anyhow::Result<String> {
    let entry = timeout(SOON, entries.message()).await.context("no entry came")??;
    let entry = entry.context("the watch ended")?;
    Ok(match entry.operation() {
        _ if entry.up_to_date => "up to date".to_owned(),
        KvOperation::OperationPut => String::from_utf8_lossy(&entry.value).into_owned(),
        KvOperation::OperationDelete => "deleted".to_owned(),
        KvOperation::OperationPurge => "purged".to_owned(),
    })
}
