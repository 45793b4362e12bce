//! HealthCheck, `grpc.health.v1` and reflection.

use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::NatsHealthCheckRequest;
use narun_grpc::{FILE_DESCRIPTOR_SET, NatsService, SERVICE};
use narun_support::Server;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus::ServiceUnknown;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Service, channel, connect, eventually, soon};

#[tokio::test]
async fn health_follows_a_round_trip() {
    let mut service = Service::start().await;
    let deep = NatsHealthCheckRequest { deep_check: true };
    let response = service.client.health_check(deep).await.unwrap().into_inner();
    assert!(response.healthy && response.jetstream_enabled, "{response:?}");
    assert_eq!((response.nats_status.as_str(), response.connections), ("connected", 1));

    // Without JetStream; then without a server.
    let mut server = Server::start().expect("a nats-server");
    let nats = async_nats::connect(server.url()).await.unwrap();
    let mut service =
        Service::serve(NatsService::builder(nats).authenticator(TrustRequest::new()).build()).await;
    let response = service.client.health_check(deep).await.unwrap().into_inner();
    assert!(!response.healthy && !response.jetstream_enabled, "{response:?}");
    let shallow = NatsHealthCheckRequest { deep_check: false };
    assert!(service.client.health_check(shallow).await.unwrap().into_inner().healthy);
    server.kill().unwrap();
    eventually("bad health", async || {
        let response = service.client.health_check(shallow).await.unwrap().into_inner();
        !response.healthy && response.connections == 0
    })
    .await;
}

#[tokio::test]
async fn grpc_health_follows_the_connection_and_reflection_lists_the_service() {
    let mut server = Server::start().expect("a nats-server");
    let nats = async_nats::connect(server.url()).await.unwrap();
    let service = NatsService::builder(nats).authenticator(TrustRequest::new()).build();
    let (health, _watch) = service.health();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("sound descriptors");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = tonic::transport::Server::builder()
        .add_service(health)
        .add_service(reflection)
        .add_service(service.clone().into_server());
    let serving = tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));

    let mut health = HealthClient::new(channel(&url).await);
    let mut becomes = async |status: ServingStatus| {
        for name in ["", SERVICE, "nats-service"] {
            eventually("the status", async || {
                let response = health.check(HealthCheckRequest { service: name.to_owned() }).await;
                response.unwrap().into_inner().status == status as i32
            })
            .await;
        }
    };
    becomes(ServingStatus::Serving).await;
    server.kill().unwrap();
    becomes(ServingStatus::NotServing).await;
    server.restart().unwrap();
    becomes(ServingStatus::Serving).await;
    service.end_subscriptions();
    becomes(ServingStatus::NotServing).await;
    let unknown = health.check(HealthCheckRequest { service: "unknown".to_owned() }).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    serving.abort();
}

#[tokio::test]
async fn a_watch_of_health_ends_with_the_subscriptions() {
    let service = NatsService::builder(connect().await).authenticator(TrustRequest::new()).build();
    let (health, _watch) = service.health();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = Notify::new();
    let serving = tonic::transport::Server::builder().add_service(health).serve_with_incoming_shutdown(
        TcpListenerStream::new(listener),
        async {
            stop.notified().await;
            service.end_subscriptions();
        },
    );
    let clients = async {
        let mut health = HealthClient::new(channel(&url).await);
        let mut watch = async |name: &str| {
            let request = HealthCheckRequest { service: name.to_owned() };
            health.watch(request).await.unwrap().into_inner()
        };
        let mut known = [watch("").await, watch(SERVICE).await, watch("nats-service").await];
        for watch in &mut known {
            let mut before = ServingStatus::Unknown as i32;
            while before != ServingStatus::Serving as i32 {
                before = soon("a status", watch.message()).await.unwrap().unwrap().status;
            }
        }
        let mut unknown = watch("unknown").await;
        let status = soon("a status", unknown.message()).await.unwrap().unwrap().status;
        assert_eq!(status, ServiceUnknown as i32);
        stop.notify_one();
        for watch in &mut known {
            let status = soon("a status", watch.message()).await.unwrap().unwrap().status;
            assert_eq!(status, ServingStatus::NotServing as i32);
        }
        for mut watch in known.into_iter().chain([unknown]) {
            let status = soon("the end", watch.message()).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
        }
        // A client that watches again while the server ends.
        assert!(soon("an end", health.watch(HealthCheckRequest::default())).await.is_err());
    };
    // The server waits for its streams.
    let (served, ()) = soon("the server's end", async { tokio::join!(serving, clients) }).await;
    served.unwrap();
}
