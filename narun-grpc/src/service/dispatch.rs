//! The generated trait: each method of the contract, by its kind of call.

use tonic::{Request, Response, Status, Streaming};

use crate::call::Responses;
use crate::methods::{health, objects};
use crate::pb::nats_service_server;
use crate::{NatsService, pb};

macro_rules! methods {
    (
        unary { $($unary:ident($request:ident) -> $response:ident;)* }
        streaming { $($streaming:ident($stream:ident: $opening:ident) -> $item:ident;)* }
    ) => {
        #[tonic::async_trait]
        impl nats_service_server::NatsService for NatsService {
            $(async fn $unary(&self, request: Request<pb::$request>) -> Result<Response<pb::$response>, Status> {
                self.0.unary(request).await
            })*

            $(type $stream = Responses<pb::$item>;

            async fn $streaming(&self, request: Request<pb::$opening>) -> Result<Response<Self::$stream>, Status> {
                self.0.streaming(request).await
            })*

            async fn object_upload(
                &self,
                request: Request<Streaming<pb::ObjectChunk>>,
            ) -> Result<Response<pb::ObjectPutResponse>, Status> {
                objects::upload(&self.0, request).await
            }

            async fn health_check(
                &self,
                request: Request<pb::NatsHealthCheckRequest>,
            ) -> Result<Response<pb::NatsHealthCheckResponse>, Status> {
                health::check(&self.0, request).await
            }
        }
    };
}

methods! {
    unary {
        publish(PublishRequest) -> PublishResponse;
        publish_batch(PublishBatchRequest) -> PublishBatchResponse;
        unsubscribe(UnsubscribeRequest) -> UnsubscribeResponse;
        request(RequestRequest) -> RequestResponse;
        create_stream(CreateStreamRequest) -> CreateStreamResponse;
        delete_stream(DeleteStreamRequest) -> DeleteStreamResponse;
        get_stream_info(GetStreamInfoRequest) -> GetStreamInfoResponse;
        list_streams(ListStreamsRequest) -> ListStreamsResponse;
        update_stream(UpdateStreamRequest) -> UpdateStreamResponse;
        purge_stream(PurgeStreamRequest) -> PurgeStreamResponse;
        create_consumer(CreateConsumerRequest) -> CreateConsumerResponse;
        delete_consumer(DeleteConsumerRequest) -> DeleteConsumerResponse;
        get_consumer_info(GetConsumerInfoRequest) -> GetConsumerInfoResponse;
        list_consumers(ListConsumersRequest) -> ListConsumersResponse;
        publish_to_stream(PublishToStreamRequest) -> PublishToStreamResponse;
        pull_messages(PullMessagesRequest) -> PullMessagesResponse;
        ack_message(AckMessageRequest) -> AckMessageResponse;
        nak_message(NakMessageRequest) -> NakMessageResponse;
        kv_put(KvPutRequest) -> KvPutResponse;
        kv_get(KvGetRequest) -> KvGetResponse;
        kv_delete(KvDeleteRequest) -> KvDeleteResponse;
        kv_keys(KvKeysRequest) -> KvKeysResponse;
        kv_history(KvHistoryRequest) -> KvHistoryResponse;
        object_put(ObjectPutRequest) -> ObjectPutResponse;
        object_get(ObjectGetRequest) -> ObjectGetResponse;
        object_delete(ObjectDeleteRequest) -> ObjectDeleteResponse;
        object_list(ObjectListRequest) -> ObjectListResponse;
        get_statistics(GetStatisticsRequest) -> GetStatisticsResponse;
        get_stream_stats(GetStreamStatsRequest) -> GetStreamStatsResponse;
    }
    streaming {
        subscribe(SubscribeStream: SubscribeRequest) -> MessageResponse;
        queue_subscribe(QueueSubscribeStream: QueueSubscribeRequest) -> MessageResponse;
        consume_messages(ConsumeMessagesStream: ConsumeMessagesRequest) -> JetStreamMessage;
        kv_watch(KVWatchStream: KvWatchRequest) -> KvEntry;
        object_download(ObjectDownloadStream: ObjectGetRequest) -> ObjectChunk;
    }
}
