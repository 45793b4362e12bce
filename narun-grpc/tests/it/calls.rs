//! What is around every call: audit, metrics, deadlines.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use narun_grpc::Method;
use narun_grpc::audit::{AuditRecord, AuditSink};
use narun_grpc::pb::{PublishRequest, SubscribeRequest};
use tonic::Code;

use crate::harness::{Service, eventually, new_user, soon};

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

    // A stream is recorded when it ends.
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
async fn metrics_are_by_method_and_code_and_never_by_user() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // Leaked, so that the guard needs no lifetime; the test's runtime has one thread only.
    let _guard = metrics::set_default_local_recorder(Box::leak(Box::new(recorder)));
    let (service, user) = (Service::start().await, new_user());
    let subscribe = SubscribeRequest { user_id: user.clone(), subject: "a".into(), ..Default::default() };
    let mut stream = service.client.clone().subscribe(subscribe).await.unwrap().into_inner();
    let publish = |subject: &str| PublishRequest {
        user_id: user.clone(),
        subject: subject.to_owned(),
        data: Bytes::from_static(b"12345"),
        ..Default::default()
    };
    service.client.clone().publish(publish("a")).await.unwrap();
    service.client.clone().publish(publish("")).await.unwrap_err();
    soon("a message", stream.message()).await.unwrap().unwrap();
    let text = handle.render();
    for line in [
        "nats_grpc_calls_total{method=\"Publish\",code=\"OK\"} 1",
        "nats_grpc_calls_total{method=\"Publish\",code=\"INVALID_ARGUMENT\"} 1",
        "nats_grpc_calls_in_flight{method=\"Subscribe\"} 1",
        "nats_grpc_message_bytes_total{method=\"Publish\",direction=\"received\"} 5",
        "nats_grpc_messages_total{method=\"Subscribe\",direction=\"sent\"} 1",
        "nats_grpc_subscriptions 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains(&user));
    drop(stream);
    eventually("no subscription", async || handle.render().contains("nats_grpc_subscriptions 0")).await;
}
