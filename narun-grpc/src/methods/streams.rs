//! CreateStream, DeleteStream, GetStreamInfo, ListStreams, UpdateStream and PurgeStream.

use async_nats::jetstream::stream::{Info, PurgeResponse};
use serde_json::json;
use tonic::Status;

use crate::call::streams::stamp;
use crate::call::{MethodCall, OnLoss, Unary};
use crate::convert::{change_stream, filter_subject, from_stream, saturating, to_stream};
use crate::status::if_found;
use crate::{Method, pb, status};

impl Unary for pb::CreateStreamRequest {
    const METHOD: Method = Method::CreateStream;
    type Response = pb::CreateStreamResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::CreateStreamResponse, Status> {
        let config = self.config.ok_or_else(|| Status::invalid_argument("config is missing"))?;
        let name = call.stream_name(&config.name)?;
        let mut stream = to_stream(call.tenant(), name.clone(), &config)?;
        stamp(call.tenant(), &mut stream);
        let _creating = call.tally.creating().await;
        call.check_reserved_bytes(&name, stream.max_bytes).await?;
        if let Some(limit) = call.space.quotas.streams {
            let streams = call.all_streams().await?;
            if streams.len() >= limit && !streams.iter().any(|stream| stream.config.name == name) {
                return Err(status::over_quota("streams", limit));
            }
        }
        let info: Info = call.connection().api(format!("STREAM.CREATE.{name}"), &stream).await?;
        let stream = Some(from_stream(call.tenant(), &info));
        Ok(pb::CreateStreamResponse { success: true, stream, message: String::new() })
    }
}

impl Unary for pb::DeleteStreamRequest {
    const METHOD: Method = Method::DeleteStream;
    type Response = pb::DeleteStreamResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::DeleteStreamResponse, Status> {
        let deleted = async {
            let (name, _) = call.stream(&self.stream_name).await?;
            call.connection().verified().remove(&name);
            call.connection().api::<serde_json::Value>(format!("STREAM.DELETE.{name}"), &()).await
        };
        Ok(pb::DeleteStreamResponse { success: if_found(deleted.await)?.is_some() })
    }
}

impl Unary for pb::GetStreamInfoRequest {
    const METHOD: Method = Method::GetStreamInfo;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::GetStreamInfoResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::GetStreamInfoResponse, Status> {
        let (_, info) = call.stream(&self.stream_name).await?;
        Ok(pb::GetStreamInfoResponse { stream: Some(from_stream(call.tenant(), &info)) })
    }
}

impl Unary for pb::ListStreamsRequest {
    const METHOD: Method = Method::ListStreams;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::ListStreamsResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::ListStreamsResponse, Status> {
        let infos = call.all_streams().await?;
        let mut streams: Vec<_> = infos.iter().map(|info| from_stream(call.tenant(), info)).collect();
        streams.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pb::ListStreamsResponse { streams })
    }
}

impl Unary for pb::UpdateStreamRequest {
    const METHOD: Method = Method::UpdateStream;
    type Response = pb::UpdateStreamResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::UpdateStreamResponse, Status> {
        let config = self.config.ok_or_else(|| Status::invalid_argument("config is missing"))?;
        if !config.name.is_empty() && config.name != self.stream_name {
            return Err(Status::invalid_argument("config.name is another stream's"));
        }
        let _creating = call.tally.creating().await;
        let (name, info) = call.stream(&self.stream_name).await?;
        let mut stream = info.config;
        let before = stream.max_bytes;
        change_stream(call.tenant(), &mut stream, &config)?;
        if stream.max_bytes > before {
            call.check_reserved_bytes(&name, stream.max_bytes).await?;
        }
        let info: Info = call.connection().api(format!("STREAM.UPDATE.{name}"), &stream).await?;
        call.connection().verified().remove(&name);
        Ok(pb::UpdateStreamResponse { success: true, stream: Some(from_stream(call.tenant(), &info)) })
    }
}

impl Unary for pb::PurgeStreamRequest {
    const METHOD: Method = Method::PurgeStream;
    type Response = pb::PurgeStreamResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::PurgeStreamResponse, Status> {
        let request = match self.subject.as_str() {
            "" => json!({}),
            subject => json!({ "filter": filter_subject(call.tenant(), subject)? }),
        };
        let (name, _) = call.stream(&self.stream_name).await?;
        let purged: PurgeResponse = call.connection().api(format!("STREAM.PURGE.{name}"), &request).await?;
        Ok(pb::PurgeStreamResponse { success: true, purged_count: saturating(purged.purged) })
    }
}
