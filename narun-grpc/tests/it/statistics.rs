//! GetStatistics and GetStreamStats.

use narun_grpc::pb::{GetStatisticsRequest, GetStreamStatsRequest};
use tonic::Code;

use crate::consumers::{consumer, durable};
use crate::harness::{Service, new_user};
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
    let told = service.client.get_statistics(request).await.unwrap().into_inner();
    assert_eq!((told.total_streams, told.total_consumers, told.total_messages), (2, 1, 3));
    assert!(told.total_bytes > 15);
    assert_eq!((told.in_msgs, told.in_bytes, told.out_msgs, told.out_bytes), (3, 15, 0, 0));
    // Those of the other tests too.
    assert!(told.connections >= 1);

    let request = |stream: &str| GetStreamStatsRequest {
        user_id: user.clone(),
        stream_name: stream.into(),
        ..Default::default()
    };
    let told = service.client.get_stream_stats(request("s")).await.unwrap().into_inner();
    assert_eq!((told.stream_name.as_str(), told.messages, told.consumer_count), ("s", 2, 1));
    store(&service.client, &user, "s.c", "12345").await;
    let told = service.client.get_stream_stats(request("s")).await.unwrap().into_inner();
    assert!(told.message_rate > 0.0 && told.byte_rate > told.message_rate, "{told:?}");
    assert_eq!(service.client.get_stream_stats(request("u")).await.unwrap_err().code(), Code::NotFound);
}
