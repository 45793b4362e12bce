//! Headers that control JetStream.

use narun_grpc::pb::PublishToStreamRequest;
use tonic::Code;

use crate::harness::GrpcClient;

/// Tries to control JetStream by headers.
pub(super) async fn steer(client: &mut GrpcClient) {
    let names = [
        "Nats-Rollup",
        "NATS-ROLLUP",
        "nats-rollup",
        "Nats-Expected-Stream",
        "Nats-Expected-Last-Sequence",
        "Nats-Expected-Last-Subject-Sequence",
        "Nats-Expected-Last-Msg-Id",
        "Nats-TTL",
        "Nats-Stream",
        "Nats-Subject",
        "Nats-Sequence",
        "Nats-Marker-Reason",
        "Nats-Schedule",
        "Nats-Schedule-Target",
        "Nats-Trace-Dest",
        "Nats-Trace-Only",
        "Nats-Incr",
        "Nats-Batch-Id",
        "Nats-Required-Api-Level",
        "KV-Operation",
        "kv-operation",
        " Nats-Rollup",
        "A\r\nNats-Rollup",
        "A: b\r\nNats-Rollup",
        "Nats\u{2d}Rollup",
    ];
    let cases = names.map(|name| (name, "all")).into_iter();
    let values = ["a\r\nNats-Rollup: all", "a\nKV-Operation: DEL", "a\r\n\r\nx", "\0", "ä"];
    for (name, value) in cases.chain(values.map(|value| ("A", value))) {
        let publish = PublishToStreamRequest {
            user_id: "eve".into(),
            stream_name: "own".into(),
            subject: "own.a".into(),
            headers: [(name.to_owned(), value.to_owned())].into(),
            ..Default::default()
        };
        let status = client.publish_to_stream(publish).await.expect_err(name);
        assert_eq!(status.code(), Code::InvalidArgument, "{name} {value}");
    }
}
