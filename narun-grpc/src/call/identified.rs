use crate::pb;

/// A request with identity fields and a resource.
pub(crate) trait Identified {
    fn user_id(&self) -> &str;
    fn organization_id(&self) -> &str;

    /// What the request is about, in the caller's names, for audit records.
    fn resource(&self) -> String;
}

/// Implements [`Identified`] for requests: a format of the resource, and its fields.
macro_rules! identified {
    ($($request:ident: $format:literal $(, $field:ident)*;)*) => {$(
        impl Identified for pb::$request {
            fn user_id(&self) -> &str {
                &self.user_id
            }

            fn organization_id(&self) -> &str {
                &self.organization_id
            }

            fn resource(&self) -> String {
                format!($format $(, self.$field)*)
            }
        }
    )*};
}

identified! {
    PublishRequest: "subject {}", subject;
    PublishBatchRequest: "subjects";
    SubscribeRequest: "subject {}", subject;
    UnsubscribeRequest: "subject {}", subject;
    RequestRequest: "subject {}", subject;
    QueueSubscribeRequest: "subject {}", subject;
    DeleteStreamRequest: "stream {}", stream_name;
    GetStreamInfoRequest: "stream {}", stream_name;
    ListStreamsRequest: "streams";
    UpdateStreamRequest: "stream {}", stream_name;
    PurgeStreamRequest: "stream {}", stream_name;
    CreateConsumerRequest: "stream {}", stream_name;
    DeleteConsumerRequest: "stream {} consumer {}", stream_name, consumer_name;
    GetConsumerInfoRequest: "stream {} consumer {}", stream_name, consumer_name;
    ListConsumersRequest: "stream {}", stream_name;
    PublishToStreamRequest: "stream {} subject {}", stream_name, subject;
    PullMessagesRequest: "stream {} consumer {}", stream_name, consumer_name;
    ConsumeMessagesRequest: "stream {} consumer {}", stream_name, consumer_name;
    AckMessageRequest: "stream {} consumer {} message {}", stream_name, consumer_name, sequence;
    NakMessageRequest: "stream {} consumer {} message {}", stream_name, consumer_name, sequence;
    KvPutRequest: "bucket {} key {}", bucket, key;
    KvGetRequest: "bucket {} key {}", bucket, key;
    KvDeleteRequest: "bucket {} key {}", bucket, key;
    KvKeysRequest: "bucket {}", bucket;
    KvHistoryRequest: "bucket {} key {}", bucket, key;
    KvWatchRequest: "bucket {} key {}", bucket, key;
    ObjectPutRequest: "bucket {} object {}", bucket, object_name;
    ObjectGetRequest: "bucket {} object {}", bucket, object_name;
    ObjectDeleteRequest: "bucket {} object {}", bucket, object_name;
    ObjectListRequest: "bucket {}", bucket;
    ObjectChunk: "bucket {} object {}", bucket, object_name;
    GetStatisticsRequest: "statistics";
    GetStreamStatsRequest: "stream {}", stream_name;
}

impl Identified for pb::CreateStreamRequest {
    fn user_id(&self) -> &str {
        &self.user_id
    }

    fn organization_id(&self) -> &str {
        &self.organization_id
    }

    fn resource(&self) -> String {
        format!("stream {}", self.config.as_ref().map_or("", |config| &config.name))
    }
}
