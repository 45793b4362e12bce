//! CreateStream, DeleteStream, GetStreamInfo, ListStreams, UpdateStream and PurgeStream.

use async_nats::jetstream::stream::{Info, PurgeResponse};
use serde_json::json;
use tonic::{Code, Status};

use crate::call::{Call, Unary};
use crate::convert::{change_stream, covers, filter_subject, from_stream, saturating, to_stream};
use crate::tenant::Tenant;
use crate::{Method, pb, status};

/// What a stream's metadata says of its owner, beside its name.
const OWNER: &str = "narun-tenant";

impl Call<'_> {
    /// NATS's name of the tenant's stream of this name.
    pub(crate) fn stream_name(&self, name: &str) -> Result<String, Status> {
        self.tenant().stream(name).map_err(|error| status::tenant(&error))
    }

    /// The tenant's stream of this name, and NATS's name of it.
    pub(crate) async fn stream(&self, name: &str) -> Result<(String, Info), Status> {
        let name = self.stream_name(name)?;
        let info = self.connection().stream_info(&name).await?;
        // Names are the tenants' already. This is for those that somebody else in the account has made.
        match is_owned(self.tenant(), &info) {
            true => {
                self.connection().verified().add(&name, &info.config.subjects);
                Ok((name, info))
            }
            false => Err(Status::not_found("no such stream")),
        }
    }

    /// NATS's name of the tenant's stream of this name, which was found to be the tenant's some seconds ago at most.
    pub(crate) async fn owned_stream(&self, name: &str) -> Result<String, Status> {
        let stream = self.stream_name(name)?;
        if self.connection().verified().subjects(&stream).is_none() {
            self.stream(name).await?;
        }
        Ok(stream)
    }

    /// As [`owned_stream`](Self::owned_stream), of a stream that takes this subject of NATS's.
    ///
    /// What no stream takes might go to a subscriber, who does not answer as a stream does.
    pub(crate) async fn stream_of(&self, name: &str, subject: &str) -> Result<String, Status> {
        let stream = self.stream_name(name)?;
        let takes = |subjects: &[String]| subjects.iter().any(|filter| covers(filter, subject));
        if self.connection().verified().subjects(&stream).is_some_and(|subjects| takes(&subjects)) {
            return Ok(stream);
        }
        let (_, info) = self.stream(name).await?;
        let elsewhere = || Status::failed_precondition("the subject is not one of this stream");
        takes(&info.config.subjects).then_some(stream).ok_or_else(elsewhere)
    }

    /// All of the tenant's streams.
    pub(crate) async fn all_streams(&self) -> Result<Vec<Info>, Status> {
        let subject = filter_subject(self.tenant(), ">")?;
        let mut streams = Vec::new();
        let request = json!({ "subject": subject });
        self.connection().list("STREAM.LIST", request, |info| streams.push(info)).await?;
        streams.retain(|info| is_owned(self.tenant(), info));
        Ok(streams)
    }
}

fn owner(tenant: &Tenant) -> String {
    // The subjects that it may have are what tells one tenant from all others.
    tenant.subject(">").unwrap_or_default()
}

fn is_owned(tenant: &Tenant, info: &Info) -> bool {
    let owned = info.config.metadata.get(OWNER).is_some_and(|stamp| *stamp == owner(tenant));
    owned && tenant.own_stream(&info.config.name).is_some()
}

impl Unary for pb::CreateStreamRequest {
    const METHOD: Method = Method::CreateStream;
    type Response = pb::CreateStreamResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::CreateStreamResponse, Status> {
        let config = self.config.ok_or_else(|| Status::invalid_argument("config is missing"))?;
        let name = call.stream_name(&config.name)?;
        let mut stream = to_stream(call.tenant(), name.clone(), &config)?;
        stream.metadata.insert(OWNER.to_owned(), owner(call.tenant()));
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

    async fn run(self, call: &Call<'_>) -> Result<pb::DeleteStreamResponse, Status> {
        let deleted = async {
            let (name, _) = call.stream(&self.stream_name).await?;
            call.connection().verified().remove(&name);
            call.connection().api::<serde_json::Value>(format!("STREAM.DELETE.{name}"), &()).await
        };
        Ok(pb::DeleteStreamResponse { success: if_found(deleted.await)?.is_some() })
    }
}

/// What is not found is none.
pub(crate) fn if_found<T>(result: Result<T, Status>) -> Result<Option<T>, Status> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

impl Unary for pb::GetStreamInfoRequest {
    const METHOD: Method = Method::GetStreamInfo;
    type Response = pb::GetStreamInfoResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::GetStreamInfoResponse, Status> {
        let (_, info) = call.stream(&self.stream_name).await?;
        Ok(pb::GetStreamInfoResponse { stream: Some(from_stream(call.tenant(), &info)) })
    }
}

impl Unary for pb::ListStreamsRequest {
    const METHOD: Method = Method::ListStreams;
    type Response = pb::ListStreamsResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::ListStreamsResponse, Status> {
        let infos = call.all_streams().await?;
        let mut streams: Vec<_> = infos.iter().map(|info| from_stream(call.tenant(), info)).collect();
        streams.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pb::ListStreamsResponse { streams })
    }
}

impl Unary for pb::UpdateStreamRequest {
    const METHOD: Method = Method::UpdateStream;
    type Response = pb::UpdateStreamResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::UpdateStreamResponse, Status> {
        let config = self.config.ok_or_else(|| Status::invalid_argument("config is missing"))?;
        if !config.name.is_empty() && config.name != self.stream_name {
            return Err(Status::invalid_argument("config.name is another stream's"));
        }
        let (name, info) = call.stream(&self.stream_name).await?;
        let mut stream = info.config;
        change_stream(call.tenant(), &mut stream, &config)?;
        let info: Info = call.connection().api(format!("STREAM.UPDATE.{name}"), &stream).await?;
        call.connection().verified().remove(&name);
        Ok(pb::UpdateStreamResponse { success: true, stream: Some(from_stream(call.tenant(), &info)) })
    }
}

impl Unary for pb::PurgeStreamRequest {
    const METHOD: Method = Method::PurgeStream;
    type Response = pb::PurgeStreamResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::PurgeStreamResponse, Status> {
        let request = match self.subject.as_str() {
            "" => json!({}),
            subject => json!({ "filter": filter_subject(call.tenant(), subject)? }),
        };
        let (name, _) = call.stream(&self.stream_name).await?;
        let purged: PurgeResponse = call.connection().api(format!("STREAM.PURGE.{name}"), &request).await?;
        Ok(pb::PurgeStreamResponse { success: true, purged_count: saturating(purged.purged) })
    }
}
