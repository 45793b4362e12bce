//! gRPC's interoperability tests, as listed in gRPC's `doc/interop-test-descriptions.md`.

use futures::channel::mpsc::unbounded;
use futures::stream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

use super::Site;
use super::service::*;
use crate::harness::soon;

/// The sizes of the interoperability tests.
const REQUESTS: [i32; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSES: [i32; 4] = [31_415, 9, 2_653, 58_979];

fn output_request(response: i32, payload: i32) -> OutputRequest {
    OutputRequest {
        response_parameters: vec![ResponseParameters { size: response, interval_us: 0 }],
        payload: Some(zeros(payload)),
        response_status: None,
    }
}

fn size(response: OutputResponse) -> i32 {
    response.payload.expect("a payload").body.len() as i32
}

async fn message(responses: &mut Streaming<OutputResponse>) -> Option<i32> {
    soon("a message", responses.message()).await.expect("no error").map(size)
}

#[tokio::test]
async fn empty_unary() {
    let site = Site::start().await;
    let response: Response<()> =
        site.client().await.unary(EMPTY, Request::new(())).await.expect("a response");
    assert_eq!(response.metadata().get("content-type").expect("a type"), "application/grpc");
}

#[tokio::test]
async fn large_unary() {
    let site = Site::start().await;
    let request =
        SimpleRequest { response_size: 314_159, payload: Some(zeros(271_828)), ..SimpleRequest::default() };
    let response: SimpleResponse =
        site.client().await.unary(UNARY, Request::new(request)).await.expect("a response").into_inner();
    assert_eq!(response.payload, Some(zeros(314_159)));
}

#[tokio::test]
async fn client_streaming() {
    let site = Site::start().await;
    let requests = REQUESTS.map(|size| InputRequest { payload: Some(zeros(size)) });
    let response: InputResponse = site
        .client()
        .await
        .client_streaming(INPUT, Request::new(stream::iter(requests)))
        .await
        .expect("a response")
        .into_inner();
    assert_eq!(response.aggregated_payload_size, 74_922);
}

#[tokio::test]
async fn server_streaming() {
    let site = Site::start().await;
    let response_parameters = RESPONSES.map(|size| ResponseParameters { size, interval_us: 0 }).to_vec();
    let request = OutputRequest { response_parameters, ..OutputRequest::default() };
    let mut responses = site
        .client()
        .await
        .server_streaming(OUTPUT, Request::new(request))
        .await
        .expect("a response")
        .into_inner();
    for size in RESPONSES {
        assert_eq!(message(&mut responses).await, Some(size));
    }
    assert_eq!(message(&mut responses).await, None);
}

#[tokio::test]
async fn ping_pong() {
    let site = Site::start().await;
    let (sender, requests) = unbounded();
    sender.unbounded_send(output_request(RESPONSES[0], REQUESTS[0])).expect("an open stream");
    let mut responses =
        site.client().await.streaming(DUPLEX, Request::new(requests)).await.expect("a response").into_inner();
    assert_eq!(message(&mut responses).await, Some(RESPONSES[0]));
    for (request, response) in REQUESTS.into_iter().zip(RESPONSES).skip(1) {
        sender.unbounded_send(output_request(response, request)).expect("an open stream");
        assert_eq!(message(&mut responses).await, Some(response));
    }
    drop(sender);
    assert_eq!(message(&mut responses).await, None);
    assert_eq!(site.service.begun(), 1);
}

#[tokio::test]
async fn empty_stream() {
    let site = Site::start().await;
    let nothing = stream::empty::<OutputRequest>();
    let mut responses =
        site.client().await.streaming(DUPLEX, Request::new(nothing)).await.expect("a response").into_inner();
    assert_eq!(message(&mut responses).await, None);
}

#[tokio::test]
async fn custom_metadata() {
    let site = Site::start().await;
    let mut client = site.client().await;
    let bytes: &[u8] = &[0xab; 3];
    let add = |metadata: &mut MetadataMap| {
        metadata.insert(ECHO, MetadataValue::from_static("test_initial_metadata_value"));
        metadata.insert_bin(ECHO_TRAILING, MetadataValue::from_bytes(bytes));
    };
    let check = |initial: &MetadataMap, trailing: &MetadataMap| {
        assert_eq!(initial.get(ECHO).expect("an echo"), "test_initial_metadata_value");
        let trailing = trailing.get_bin(ECHO_TRAILING).expect("an echo");
        assert_eq!(trailing.to_bytes().expect("base64"), bytes);
    };

    let mut request = Request::new(SimpleRequest { response_size: 1, ..SimpleRequest::default() });
    add(request.metadata_mut());
    let response: Response<SimpleResponse> = client.unary(UNARY, request).await.expect("a response");
    // A unary call's metadata contain headers and trailers.
    check(response.metadata(), response.metadata());

    let mut request = Request::new(stream::iter([output_request(1, 1)]));
    add(request.metadata_mut());
    let response: Response<Streaming<OutputResponse>> =
        client.streaming(DUPLEX, request).await.expect("a response");
    let (initial, mut responses, _) = response.into_parts();
    assert_eq!(message(&mut responses).await, Some(1));
    let trailing = responses.trailers().await.expect("no error").expect("trailers");
    check(&initial, &trailing);
}

async fn assert_status(code: Code, text: &str) {
    let site = Site::start().await;
    let mut client = site.client().await;
    let response_status = Some(EchoStatus { code: code.into(), message: text.to_owned() });
    let check = |status: Status| assert_eq!((status.code(), status.message()), (code, text));

    let request = SimpleRequest { response_status: response_status.clone(), ..SimpleRequest::default() };
    check(client.unary::<_, SimpleResponse>(UNARY, Request::new(request)).await.expect_err("a status"));
    let request = OutputRequest { response_status, ..output_request(1, 1) };
    let mut responses: Streaming<OutputResponse> = client
        .streaming(DUPLEX, Request::new(stream::iter([request])))
        .await
        .expect("a response")
        .into_inner();
    // The messages before the status are not lost.
    assert_eq!(message(&mut responses).await, Some(1));
    check(responses.message().await.expect_err("a status"));
}

#[tokio::test]
async fn status_code_and_message() {
    assert_status(Code::Unknown, "test status message").await;
}

#[tokio::test]
async fn special_status_message() {
    let text = "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n";
    assert_status(Code::Unknown, text).await;
}

#[tokio::test]
async fn unimplemented_method_and_service() {
    let site = Site::start_with(
        |builder, app| builder.grpc(NAME, app).grpc("grpc.testing.UnimplementedService", app),
        |routes| routes,
    )
    .await;
    let mut client = site.client().await;
    for method in [
        UNIMPLEMENTED,
        // The consumer does not have the service, or the gateway has no route for it.
        "/grpc.testing.UnimplementedService/UnimplementedCall",
        "/grpc.testing.Unknown/Call",
    ] {
        let status = client.unary::<_, ()>(method, Request::new(())).await.expect_err("a status");
        assert_eq!(status.code(), Code::Unimplemented, "{method}: {status}");
    }
}
