//! Names of another tenant's streams and buckets.

use narun_grpc::pb::{
    AckMessageRequest, DeleteConsumerRequest, DeleteStreamRequest, GetStreamInfoRequest,
    GetStreamStatsRequest, KvGetRequest, KvKeysRequest, NakMessageRequest, ObjectListRequest,
    PullMessagesRequest, PurgeStreamRequest,
};
use tonic::Code;

use super::requests::{consume, history, pull, watch};
use super::tried;
use crate::consumers::{consumer, durable};
use crate::harness::GrpcClient;
use crate::streams::{create, named};

/// Tries to reach the other's streams and buckets by all kinds of names.
pub(super) async fn steal_from(client: &mut GrpcClient, token: &str) {
    // Not "s", which is eve's own by now.
    for name in ["user-ann-s", "ann-s", "../ann-s", "s.ann", "*", ">", "t"] {
        let (user_id, stream_name, consumer_name) = ("eve".to_owned(), name.to_owned(), "c".to_owned());
        let get = GetStreamInfoRequest { user_id, stream_name, ..Default::default() };
        assert!(tried(client.get_stream_info(get.clone()).await).is_none(), "{name}");
        let GetStreamInfoRequest { user_id, stream_name, .. } = get;
        let get = GetStreamStatsRequest { user_id, stream_name, ..Default::default() };
        assert!(tried(client.get_stream_stats(get.clone()).await).is_none(), "{name}");
        let GetStreamStatsRequest { user_id, stream_name, .. } = get;
        let purge = PurgeStreamRequest { user_id, stream_name, ..Default::default() };
        assert!(tried(client.purge_stream(purge.clone()).await).is_none(), "{name}");
        let PurgeStreamRequest { user_id, stream_name, .. } = purge;
        let delete = DeleteStreamRequest { user_id, stream_name, ..Default::default() };
        assert!(!tried(client.delete_stream(delete.clone()).await).is_some_and(|response| response.success));
        let DeleteStreamRequest { user_id, stream_name, .. } = delete;
        let delete = DeleteConsumerRequest { user_id, stream_name, consumer_name, ..Default::default() };
        assert!(
            !tried(client.delete_consumer(delete.clone()).await).is_some_and(|response| response.success)
        );
        assert!(
            tried(
                client.pull_messages(PullMessagesRequest { stream_name: name.into(), ..pull("eve") }).await
            )
            .is_none()
        );
        assert!(tried(client.consume_messages(consume("eve", name)).await).is_none(), "{name}");
        for (sequence, ack_token) in [(1, ""), (0, token), (2, token)] {
            let DeleteConsumerRequest { user_id, stream_name, consumer_name, .. } = delete.clone();
            let ack_token = ack_token.to_owned();
            let ack = AckMessageRequest {
                user_id,
                stream_name,
                consumer_name,
                sequence,
                ack_token,
                ..Default::default()
            };
            assert!(tried(client.ack_message(ack.clone()).await).is_none(), "{name}");
            let AckMessageRequest { user_id, stream_name, consumer_name, sequence, ack_token, .. } = ack;
            let nak = NakMessageRequest {
                user_id,
                stream_name,
                consumer_name,
                sequence,
                ack_token,
                ..Default::default()
            };
            assert!(tried(client.nak_message(nak).await).is_none(), "{name}");
        }
    }
    // The victim's token on an own stream and consumer of the same names.
    client.create_stream(create("mallory", named("s"))).await.unwrap();
    client.create_consumer(consumer("mallory", durable("c"))).await.unwrap();
    let ack = AckMessageRequest {
        user_id: "mallory".into(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        ack_token: token.to_owned(),
        ..Default::default()
    };
    assert_eq!(client.ack_message(ack.clone()).await.unwrap_err().code(), Code::InvalidArgument);
    let by_sequence = AckMessageRequest { sequence: 1, ..ack };
    assert!(!client.ack_message(by_sequence).await.unwrap().into_inner().success);
    for bucket in ["b", "user-ann-b", "ann-b", "kv-user-ann-b", "-b"] {
        let (user_id, bucket) = ("mallory".to_owned(), bucket.to_owned());
        let keys = KvKeysRequest { user_id: user_id.clone(), bucket: bucket.clone(), ..Default::default() };
        assert!(client.kv_keys(keys).await.unwrap().into_inner().keys.is_empty(), "{bucket}");
        let get = KvGetRequest {
            user_id: user_id.clone(),
            bucket: bucket.clone(),
            key: "k".into(),
            ..Default::default()
        };
        assert!(!client.kv_get(get).await.unwrap().into_inner().found, "{bucket}");
        for key in ["k", ""] {
            assert!(tried(client.kv_watch(watch("mallory", &bucket, key)).await).is_none(), "{bucket}");
        }
        let history = client.kv_history(history("mallory", &bucket, "k")).await.unwrap().into_inner();
        assert!(history.entries.is_empty(), "{bucket}");
        let objects = ObjectListRequest { user_id, bucket, ..Default::default() };
        assert!(client.object_list(objects).await.unwrap().into_inner().objects.is_empty());
    }
}
