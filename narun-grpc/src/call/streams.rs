//! A tenant's streams.

use async_nats::jetstream::stream::{Config, Info};
use serde_json::json;
use tonic::Status;

use crate::call::MethodCall;
use crate::convert::{covers, filter_subject};
use crate::status::OrStatus;
use crate::tenant::Tenant;

/// The key of a stream's metadata that names its owner.
const OWNER: &str = "narun-tenant";

impl MethodCall<'_> {
    /// The NATS name of this stream of the tenant.
    pub(crate) fn stream_name(&self, name: &str) -> Result<String, Status> {
        self.tenant().stream(name).or_status()
    }

    /// Looks up this stream of the tenant: its NATS name and its state. NOT_FOUND if the tenant has none of this name.
    pub(crate) async fn stream(&self, name: &str) -> Result<(String, Info), Status> {
        let name = self.stream_name(name)?;
        let info = self.connection().stream_info(&name).await?;
        // The name is the tenant's already. This is about streams that another client of the account has made.
        match is_owned(self.tenant(), &info) {
            true => {
                self.connection().verified().add(&name, &info.config.subjects);
                Ok((name, info))
            }
            false => Err(Status::not_found("no such stream")),
        }
    }

    /// The NATS name of this stream of the tenant. Looks it up unless that was done within the last seconds.
    pub(crate) async fn owned_stream(&self, name: &str) -> Result<String, Status> {
        let stream = self.stream_name(name)?;
        if self.connection().verified().subjects(&stream).is_none() {
            self.stream(name).await?;
        }
        Ok(stream)
    }

    /// As [`owned_stream`](Self::owned_stream), for a stream that captures this NATS subject. FAILED_PRECONDITION if it
    /// does not.
    ///
    /// A message that no stream captures may reach a subscriber, which does not acknowledge as a stream does.
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

    /// All streams of the tenant.
    pub(crate) async fn all_streams(&self) -> Result<Vec<Info>, Status> {
        let subject = filter_subject(self.tenant(), ">")?;
        let mut streams = Vec::new();
        let request = json!({ "subject": subject });
        self.connection().list("STREAM.LIST", request, |info| streams.push(info)).await?;
        streams.retain(|info| is_owned(self.tenant(), info));
        Ok(streams)
    }
}

/// Writes the owner into the stream's metadata.
pub(crate) fn stamp(tenant: &Tenant, stream: &mut Config) {
    stream.metadata.insert(OWNER.to_owned(), owner(tenant));
}

fn owner(tenant: &Tenant) -> String {
    // The prefix of its subjects identifies a tenant.
    tenant.subject(">").unwrap_or_default()
}

fn is_owned(tenant: &Tenant, info: &Info) -> bool {
    let owned = info.config.metadata.get(OWNER).is_some_and(|stamp| *stamp == owner(tenant));
    owned && tenant.own_stream(&info.config.name).is_some()
}
