//! Requests with a user id.

use narun_grpc::pb::{
    ConsumeMessagesRequest, KvHistoryRequest, KvPutRequest, KvWatchRequest, ListStreamsRequest,
    ObjectPutRequest, PullMessagesRequest,
};

use crate::{kv, objects};

pub(super) fn pull(user: &str) -> PullMessagesRequest {
    PullMessagesRequest {
        user_id: user.to_owned(),
        stream_name: "s".into(),
        consumer_name: "c".into(),
        max_wait: Some(prost_types::Duration::default()),
        ..Default::default()
    }
}

pub(super) fn consume(user: &str, stream: &str) -> ConsumeMessagesRequest {
    ConsumeMessagesRequest {
        user_id: user.to_owned(),
        stream_name: stream.to_owned(),
        consumer_name: "c".into(),
        ..Default::default()
    }
}

pub(super) fn watch(user: &str, bucket: &str, key: &str) -> KvWatchRequest {
    let (user_id, bucket, key) = (user.to_owned(), bucket.to_owned(), key.to_owned());
    KvWatchRequest { user_id, bucket, key, include_history: true, ..Default::default() }
}

pub(super) fn history(user: &str, bucket: &str, key: &str) -> KvHistoryRequest {
    let (user_id, bucket, key) = (user.to_owned(), bucket.to_owned(), key.to_owned());
    KvHistoryRequest { user_id, bucket, key, ..Default::default() }
}

pub(super) fn kv_put(user: &str, bucket: &str, key: &str) -> KvPutRequest {
    kv::put(user, bucket, key, user)
}

pub(super) fn object_put(user: &str, bucket: &str, name: &str) -> ObjectPutRequest {
    ObjectPutRequest { bucket: bucket.to_owned(), ..objects::put(user, name, user.to_owned()) }
}

pub(super) fn list(user: &str) -> ListStreamsRequest {
    ListStreamsRequest { user_id: user.to_owned(), ..Default::default() }
}
