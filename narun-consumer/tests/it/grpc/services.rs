//! Several services, and large messages.

use futures::StreamExt;
use futures::channel::mpsc::unbounded;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Streaming};
use tonic_health::ServingStatus;
use tonic_health::pb::health_check_response::ServingStatus as Serving;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::service::*;
use super::{Client, Site};
use crate::harness::{eventually, soon};

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";

/// Less than tonic's default limit.
const MESSAGE: i32 = 3 << 20;

#[tokio::test]
async fn a_health_service_is_served() {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status(NAME, ServingStatus::NotServing).await;
    let site = Site::start_with(
        |builder, app| builder.grpc(NAME, app).grpc(HEALTH, app),
        |routes| routes.add_service(health),
    )
    .await;
    let mut client = HealthClient::new(site.channel().await);
    let request = HealthCheckRequest { service: NAME.to_owned() };
    let checked = client.check(request.clone()).await.expect("a response").into_inner();
    assert_eq!(checked.status(), Serving::NotServing);
    let mut watched = client.watch(request).await.expect("a response").into_inner();
    let mut status = async || {
        let update: HealthCheckResponse =
            soon("an update", watched.message()).await.expect("no error").expect("an update");
        update.status()
    };
    assert_eq!(status().await, Serving::NotServing);
    reporter.set_service_status(NAME, ServingStatus::Serving).await;
    assert_eq!(status().await, Serving::Serving);
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("a service");
    let site = Site::start_with(
        |builder, app| builder.grpc(REFLECTION, app),
        |routes| routes.add_service(reflection),
    )
    .await;
    let mut client = ServerReflectionClient::new(site.channel().await);
    let (sender, requests) = unbounded();
    let ask = |message_request| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        sender.unbounded_send(request).expect("an open stream");
    };
    ask(MessageRequest::ListServices(String::new()));
    let mut answers = client.server_reflection_info(requests).await.expect("a response").into_inner();
    let mut answer = async || {
        let answer = soon("an answer", answers.message()).await.expect("no error").expect("an answer");
        answer.message_response.expect("a message")
    };
    let MessageResponse::ListServicesResponse(list) = answer().await else { panic!("no list") };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, [HEALTH, REFLECTION]);
    ask(MessageRequest::FileContainingSymbol(HEALTH.to_owned()));
    let MessageResponse::FileDescriptorResponse(files) = answer().await else { panic!("no file") };
    assert!(!files.file_descriptor_proto.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_larger_than_a_window_are_transferred_both_ways() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let requests = futures::stream::iter([(); 3]).map(|()| InputRequest { payload: Some(zeros(MESSAGE)) });
    let response: Response<InputResponse> =
        client.client_streaming(INPUT, Request::new(requests)).await.expect("a response");
    assert_eq!(response.into_inner().aggregated_payload_size, 3 * MESSAGE);

    let requests = futures::stream::iter([(); 3]).map(|()| OutputRequest {
        response_parameters: vec![ResponseParameters { size: MESSAGE, interval_us: 0 }],
        payload: Some(zeros(MESSAGE)),
        response_status: None,
    });
    let mut responses: Streaming<OutputResponse> =
        client.streaming(DUPLEX, Request::new(requests)).await.expect("a response").into_inner();
    for _ in 0..3 {
        let response = soon("a message", responses.message()).await.expect("no error").expect("a message");
        assert_eq!(response.payload.map(|payload| payload.body.len()), Some(MESSAGE as usize));
    }
    assert_eq!(soon("the end", responses.message()).await.expect("no error"), None);
    eventually("all calls over", async || site.service.over() == 2).await;
}

#[tokio::test]
async fn compressed_messages_are_transferred() {
    let site = Site::start().await;
    let Client(grpc) = site.client().await;
    let gzip = CompressionEncoding::Gzip;
    let mut client = Client(grpc.send_compressed(gzip).accept_compressed(gzip));
    let request = SimpleRequest {
        response_size: 314_159,
        payload: Some(zeros(271_828)),
        expect_compressed: Some(BoolValue { value: true }),
        ..SimpleRequest::default()
    };
    let response: Response<SimpleResponse> =
        client.unary(UNARY, Request::new(request)).await.expect("a response");
    assert_eq!(response.metadata().get("grpc-encoding").expect("an encoding"), "gzip");
    assert_eq!(response.into_inner().payload, Some(zeros(314_159)));
}
