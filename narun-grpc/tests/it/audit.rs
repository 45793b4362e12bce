//! Audit records and sinks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use futures::StreamExt;
use http::Extensions;
use narun_grpc::Method;
use narun_grpc::audit::{AuditRecord, AuditSink, JetStreamAudit};
use narun_grpc::pb::{ObjectChunk, PublishRequest, SubscribeRequest};
use narun_support::testing::Metrics;
use tonic::Code;

use crate::events::Events;
use crate::harness::{Service, connect, eventually, new_user, soon};

/// Keeps all records.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<AuditRecord>>>);

impl AuditSink for Sink {
    fn record(&self, record: AuditRecord) {
        self.0.lock().unwrap().push(record);
    }
}

impl Sink {
    fn take(&self) -> Vec<AuditRecord> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn every_call_is_recorded_once() {
    let sink = Sink::default();
    let service = Service::with(|builder| builder.audit(sink.clone())).await;
    let user = new_user();
    let publish = |subject: &str| PublishRequest {
        user_id: user.clone(),
        organization_id: "acme".into(),
        subject: subject.to_owned(),
        data: Bytes::from_static(b"12345"),
        ..Default::default()
    };
    service.client.clone().publish(publish("a")).await.unwrap();
    let records = sink.take();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(record.method, Method::Publish);
    assert_eq!((record.code, record.code_name()), (Code::Ok, "OK"));
    assert_eq!(record.principal.as_deref(), Some(user.as_str()));
    assert_eq!((record.user.as_str(), record.organization.as_str()), (user.as_str(), "acme"));
    assert_eq!(record.resource, "subject a");
    assert_eq!((record.bytes_received, record.bytes_sent), (5, 0));
    assert!(record.peer.is_some_and(|peer| peer.ip().is_loopback()));

    service.client.clone().publish(publish(&"> ".repeat(1000))).await.unwrap_err();
    let records = sink.take();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!((record.code, record.bytes_received), (Code::InvalidArgument, 0));
    assert!(record.resource.len() <= 256);

    // A response stream is recorded when it ends.
    let subscribe = SubscribeRequest { user_id: user.clone(), subject: "a".into(), ..Default::default() };
    let mut stream = service.client.clone().subscribe(subscribe).await.unwrap().into_inner();
    service.client.clone().publish(publish("a")).await.unwrap();
    soon("a message", stream.message()).await.unwrap().unwrap();
    assert_eq!(sink.take().len(), 1);
    drop(stream);
    eventually("a record of the stream", async || {
        let records = sink.take();
        records.iter().any(|record| {
            record.method == Method::Subscribe && record.code == Code::Cancelled && record.bytes_sent == 5
        })
    })
    .await;
}

#[tokio::test]
async fn uploads_are_recorded_however_they_end() {
    let sink = Sink::default();
    let time = Duration::from_millis(300);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    // The peer is looked up when a request arrives, and when its call begins.
    let peer = move |_: &Extensions| {
        counted.fetch_add(1, Ordering::Relaxed);
        None
    };
    let mut service = Service::with(|builder| builder.audit(sink.clone()).timeout(time).peer(peer)).await;
    let recorded = async || {
        eventually("a record", async || !sink.0.lock().unwrap().is_empty()).await;
        let records = sink.take();
        assert_eq!(records.len(), 1, "{records:?}");
        records.into_iter().next().unwrap()
    };
    // Without a first chunk: until the service's timeout, until the client's deadline, and with an empty request.
    let status = service.client.object_upload(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let record = recorded().await;
    assert_eq!((record.method, record.code), (Method::ObjectUpload, Code::DeadlineExceeded));
    assert_eq!((record.user.as_str(), record.principal, record.resource.as_str()), ("", None, ""));

    let mut leaving = service.client.clone();
    let leaving = tokio::spawn(async move { leaving.object_upload(tokio_stream::pending()).await.map(drop) });
    eventually("a second call", async || calls.load(Ordering::Relaxed) > 3).await;
    leaving.abort();
    let code = recorded().await.code;
    assert!(matches!(code, Code::Cancelled | Code::DeadlineExceeded), "{code:?}");

    let mut service = Service::with(|builder| builder.audit(sink.clone())).await;
    let status = service.client.object_upload(tokio_stream::empty()).await.unwrap_err();
    assert_eq!((status.code(), recorded().await.code), (Code::InvalidArgument, Code::InvalidArgument));

    let user = new_user();
    let chunk = ObjectChunk {
        user_id: user.clone(),
        organization_id: "acme".into(),
        bucket: "b".into(),
        object_name: "o".into(),
        data: Bytes::from_static(b"12345"),
        ..Default::default()
    };
    service.client.object_upload(tokio_stream::once(chunk)).await.unwrap();
    let record = recorded().await;
    assert_eq!((record.code, record.bytes_received), (Code::Ok, 5));
    assert_eq!((record.user.as_str(), record.organization.as_str()), (user.as_str(), "acme"));
    assert_eq!(
        (record.principal.as_deref(), record.resource.as_str()),
        (Some(user.as_str()), "bucket b object o")
    );
}

fn hello(user: &str) -> PublishRequest {
    PublishRequest { user_id: user.to_owned(), subject: "hello".into(), ..Default::default() }
}

#[tokio::test]
async fn records_are_stored_in_a_stream() {
    let (nats, user) = (connect().await, new_user());
    let context = jetstream::new(nats.clone());
    let subject = format!("audit.{user}");
    let config = jetstream::stream::Config {
        name: format!("AUDIT_{user}"),
        subjects: vec![subject.clone()],
        storage: jetstream::stream::StorageType::Memory,
        ..Default::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    let mut service =
        Service::with(|builder| builder.audit(JetStreamAudit::new(context, subject.as_str()))).await;
    service.client.publish(hello(&user)).await.unwrap();
    service.client.publish(hello("")).await.unwrap_err();
    let consumer = jetstream::consumer::pull::Config::default();
    let mut records = stream.create_consumer(consumer).await.unwrap().messages().await.unwrap();
    for (named, code) in [(user.as_str(), "OK"), ("", "INVALID_ARGUMENT")] {
        let record = soon("a record", records.next()).await.unwrap().unwrap();
        let record: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
        assert_eq!(
            (&record["method"], &record["user"], &record["code"]),
            (&"Publish".into(), &named.into(), &code.into())
        );
        assert_eq!(record["resource"], "subject hello");
        assert!(record["time_ms"].is_u64() && record["duration_us"].is_u64(), "{record}");
    }
}

#[tokio::test]
async fn records_without_a_stream_are_counted_and_block_no_call() {
    let metrics = Metrics::install();
    let context = jetstream::new(connect().await);
    let mut service =
        Service::with(|builder| builder.audit(JetStreamAudit::new(context, "audit.nowhere"))).await;
    service.client.publish(hello(&new_user())).await.unwrap();
    eventually("a count", async || metrics.value("nats_grpc_audit_dropped_total", &[]) == 1.0).await;
}

#[tokio::test]
async fn records_are_events_by_default() {
    let events = Events::of(|metadata| metadata.target() == "narun::audit");
    // For this thread: the runtime of the test has no other.
    let _guard = tracing::subscriber::set_default(events.clone());
    let (mut service, user) = (Service::start().await, new_user());
    service.client.publish(hello(&user)).await.unwrap();
    let events = events.take();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    for (field, value) in [
        ("principal", user.as_str()),
        ("user", &user),
        ("method", "Publish"),
        ("resource", "subject hello"),
        ("code", "OK"),
        ("bytes_sent", "0"),
    ] {
        assert_eq!(event.get(field).map(String::as_str), Some(value), "{field}");
    }
    assert!(event["peer"].starts_with("127.0.0.1:"));
}
