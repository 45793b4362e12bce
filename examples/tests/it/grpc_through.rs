use rustix::process::Signal;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::program::{Program, run};

#[tokio::test]
async fn the_chat_ends_as_it_should() {
    let (code, text, error) = run("grpc_through", [""; 0]).await;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.ends_with("  All went as it should.\n"), "{text}");
}

#[tokio::test]
async fn it_serves_others_until_it_is_interrupted() {
    let mut chat = Program::start("grpc_through", ["--listen", "127.0.0.1:0"]);
    let server = chat.address("ready").await;
    let channel = Endpoint::try_from(format!("http://{server}")).expect("a URL").connect().await;
    let mut health = HealthClient::new(channel.expect("a connection"));
    let request = HealthCheckRequest { service: "example.chat.Chat".to_owned() };
    // A stream that is open all the while is no hindrance.
    let watched = health.watch(request.clone()).await.expect("a response");
    health.check(request).await.expect("a response");
    assert!(chat.end(Signal::INT).await.success());
    drop(watched);
}
