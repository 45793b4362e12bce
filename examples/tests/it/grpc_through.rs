use rustix::process::Signal;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::program::{Program, run};

#[tokio::test]
async fn every_step_of_the_chat_succeeds() {
    let (code, text, error) = run("grpc_through", [""; 0]).await;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.ends_with("  Every step succeeded.\n"), "{text}");
}

#[tokio::test]
async fn other_clients_are_served_until_ctrl_c() {
    let mut chat = Program::start("grpc_through", ["--listen", "127.0.0.1:0"]);
    let server = chat.address("ready").await;
    let channel = Endpoint::try_from(format!("http://{server}")).expect("a URL").connect().await;
    let mut health = HealthClient::new(channel.expect("a connection"));
    let request = HealthCheckRequest { service: "example.chat.Chat".to_owned() };
    // An open gRPC stream does not keep the program from ending.
    let watched = health.watch(request.clone()).await.expect("a response");
    health.check(request).await.expect("a response");
    assert!(chat.end(Signal::INT).await.success());
    drop(watched);
}
