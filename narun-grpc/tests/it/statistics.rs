//! GetStatistics and GetStreamStats.

use async_nats::ConnectOptions;
use narun_grpc::NatsService;
use narun_grpc::auth::TrustRequest;
use narun_grpc::pb::{GetStatisticsRequest, GetStreamStatsRequest};
use narun_support::Server;
use tonic::Code;

use crate::consumers::{consumer, durable};
use crate::harness::{Service, eventually, new_user};
use crate::streams::{create, named, store};

#[tokio::test]
async fn statistics_are_the_tenants_own() {
    let (mut service, user, other) = (Service::start().await, new_user(), new_user());
    for tenant in [&user, &other] {
        service.client.create_stream(create(tenant, named("s"))).await.unwrap();
    }
    service.client.create_stream(create(&user, named("t"))).await.unwrap();
    service.client.create_consumer(consumer(&user, durable("c"))).await.unwrap();
    for subject in ["s.a", "s.b", "t.a"] {
        store(&service.client, &user, subject, "12345").await;
    }
    store(&service.client, &other, "s.a", "1").await;
    let request = GetStatisticsRequest { user_id: user.clone(), ..Default::default() };
    let reported = service.client.get_statistics(request).await.unwrap().into_inner();
    assert_eq!((reported.total_streams, reported.total_consumers, reported.total_messages), (2, 1, 3));
    assert!(reported.total_bytes > 15);
    assert_eq!((reported.in_msgs, reported.in_bytes, reported.out_msgs, reported.out_bytes), (3, 15, 0, 0));

    let request = |stream: &str| GetStreamStatsRequest {
        user_id: user.clone(),
        stream_name: stream.into(),
        ..Default::default()
    };
    let reported = service.client.get_stream_stats(request("s")).await.unwrap().into_inner();
    assert_eq!((reported.stream_name.as_str(), reported.messages, reported.consumer_count), ("s", 2, 1));
    store(&service.client, &user, "s.c", "12345").await;
    assert_eq!((reported.message_rate, reported.byte_rate), (0.0, 0.0));
    let reported = service.client.get_stream_stats(request("s")).await.unwrap().into_inner();
    assert!(reported.message_rate > 0.0 && reported.byte_rate > reported.message_rate, "{reported:?}");
    assert_eq!(service.client.get_stream_stats(request("u")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn connections_are_counted_for_the_account() {
    let config = "accounts { A { jetstream: enabled, users: [{ user: a, password: a }] }
                             B { users: [{ user: b, password: b }] } }";
    let server = Server::builder().jetstream(true).config(config).start().expect("a nats-server");
    let connect = async |user: &str| {
        let options = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned());
        options.connect(server.url()).await.expect("a connection")
    };
    let builder = NatsService::builder(connect("a").await).authenticator(TrustRequest::new());
    let service = Service::serve(builder.build()).await;
    let _others = [connect("a").await, connect("a").await, connect("b").await];
    let request = GetStatisticsRequest { user_id: new_user(), ..Default::default() };
    eventually("three connections", async || {
        let reported = service.client.clone().get_statistics(request.clone()).await.unwrap().into_inner();
        reported.connections == 3
    })
    .await;
}
