//! What every call has: compression, limits and metrics.

use bytes::Bytes;
use narun_grpc::Settings;
use narun_grpc::pb::{KvGetRequest, KvPutRequest, NatsHealthCheckRequest, PublishRequest, SubscribeRequest};
use narun_support::testing::Metrics;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::harness::{GrpcClient, Service, eventually, new_user, soon};

fn compressing(service: &Service) -> GrpcClient {
    let client = service.client.clone();
    client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip)
}

#[tokio::test]
async fn responses_are_not_compressed_by_default() {
    let (service, user) = (Service::start().await, new_user());
    let mut client = compressing(&service);
    let subscribe = SubscribeRequest { user_id: user.clone(), subject: "a".into(), ..Default::default() };
    let messages = client.subscribe(subscribe).await.unwrap();
    assert_eq!(messages.metadata().get("grpc-encoding"), None);
    let publish = PublishRequest { user_id: user, subject: "a".into(), ..Default::default() };
    assert_eq!(client.publish(publish).await.unwrap().metadata().get("grpc-encoding"), None);
}

#[tokio::test]
async fn messages_may_be_compressed_and_have_a_limit() {
    let service = Service::with(|builder| builder.message_limit(10_000).compress_responses(true)).await;
    let user = new_user();
    let mut client = compressing(&service);
    let put = |size: usize| KvPutRequest {
        user_id: user.clone(),
        bucket: "b".into(),
        key: "k".into(),
        value: vec![0; size].into(),
        ..Default::default()
    };
    client.kv_put(put(9000)).await.unwrap();
    let (user_id, bucket, key) = (user.clone(), "b".to_owned(), "k".to_owned());
    let got = client.kv_get(KvGetRequest { user_id, bucket, key, ..Default::default() }).await.unwrap();
    assert_eq!(got.metadata().get("grpc-encoding").map(|encoding| encoding.as_bytes()), Some(&b"gzip"[..]));
    assert_eq!(got.into_inner().value.len(), 9000);
    // It compresses to little.
    let status = client.kv_put(put(20_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    client.kv_put(put(1)).await.unwrap();
}

#[tokio::test]
async fn a_variable_switches_compression_off() {
    let settings =
        Settings::from_variables(|name| (name == "GRPC_COMPRESS_RESPONSES").then(|| "false".into()));
    let settings = settings.unwrap();
    let service = Service::with(|builder| builder.compress_responses(true).settings(&settings)).await;
    let health = compressing(&service).health_check(NatsHealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.metadata().get("grpc-encoding"), None);
    let unset = Settings::from_variables(|_| None).unwrap();
    let service = Service::with(|builder| builder.compress_responses(true).settings(&unset)).await;
    let health = compressing(&service).health_check(NatsHealthCheckRequest::default()).await.unwrap();
    assert!(health.metadata().get("grpc-encoding").is_some());
}

#[tokio::test]
async fn metrics_are_labelled_by_method_and_code_and_never_by_user() {
    let metrics = Metrics::install();
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
    let text = metrics.render();
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
    eventually("no subscription", async || metrics.render().contains("nats_grpc_subscriptions 0")).await;
}
