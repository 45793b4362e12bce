//! CreateConsumer, DeleteConsumer, GetConsumerInfo and ListConsumers.

use async_nats::jetstream::consumer::Info;
use serde_json::json;
use tonic::Status;

use crate::call::consumers::consumer_name;
use crate::call::{MethodCall, OnLoss, Unary};
use crate::convert::{from_consumer, to_consumer};
use crate::status::if_found;
use crate::{Method, pb, status};

impl MethodCall<'_> {
    async fn all_consumers(&self, stream: &str) -> Result<Vec<Info>, Status> {
        let (subject, mut consumers) = (format!("CONSUMER.LIST.{stream}"), Vec::new());
        self.connection().list(&subject, json!({}), |info| consumers.push(info)).await?;
        Ok(consumers)
    }
}

impl Unary for pb::CreateConsumerRequest {
    const METHOD: Method = Method::CreateConsumer;
    type Response = pb::CreateConsumerResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::CreateConsumerResponse, Status> {
        let config = self.config.ok_or_else(|| Status::invalid_argument("config is missing"))?;
        let name = match (config.durable_name.as_str(), config.name.as_str()) {
            ("", name) | (name, "") => name,
            (durable, name) if durable == name => name,
            _ => return Err(Status::invalid_argument("name and durable_name differ")),
        };
        let consumer = to_consumer(call.tenant(), consumer_name(name)?, &config)?;
        let _creating = call.tally.creating().await;
        let (stream, info) = call.stream(&self.stream_name).await?;
        if let Some(limit) = call.space.quotas.consumers
            && info.state.consumer_count >= limit
            && !call.all_consumers(&stream).await?.iter().any(|consumer| consumer.name == name)
        {
            return Err(status::over_quota("consumers of a stream", limit));
        }
        let request = json!({ "stream_name": stream, "config": consumer });
        let subject = format!("CONSUMER.CREATE.{stream}.{name}");
        let info: Info = call.connection().api(subject, &request).await?;
        let consumer = Some(from_consumer(call.tenant(), &info));
        Ok(pb::CreateConsumerResponse { success: true, consumer, message: String::new() })
    }
}

impl Unary for pb::DeleteConsumerRequest {
    const METHOD: Method = Method::DeleteConsumer;
    type Response = pb::DeleteConsumerResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::DeleteConsumerResponse, Status> {
        let name = consumer_name(&self.consumer_name)?;
        let deleted = async {
            let (stream, _) = call.stream(&self.stream_name).await?;
            let subject = format!("CONSUMER.DELETE.{stream}.{name}");
            call.connection().api::<serde_json::Value>(subject, &()).await
        };
        Ok(pb::DeleteConsumerResponse { success: if_found(deleted.await)?.is_some() })
    }
}

impl Unary for pb::GetConsumerInfoRequest {
    const METHOD: Method = Method::GetConsumerInfo;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::GetConsumerInfoResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::GetConsumerInfoResponse, Status> {
        let (_, info) = call.consumer(&self.stream_name, &self.consumer_name).await?;
        Ok(pb::GetConsumerInfoResponse { consumer: Some(from_consumer(call.tenant(), &info)) })
    }
}

impl Unary for pb::ListConsumersRequest {
    const METHOD: Method = Method::ListConsumers;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::ListConsumersResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::ListConsumersResponse, Status> {
        let (stream, _) = call.stream(&self.stream_name).await?;
        let infos = call.all_consumers(&stream).await?;
        let mut consumers: Vec<_> = infos.iter().map(|info| from_consumer(call.tenant(), info)).collect();
        consumers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pb::ListConsumersResponse { consumers })
    }
}
