//! A tenant's streams.

use async_nats::jetstream::stream::{Config, Info};
use serde_json::json;
use tonic::Status;

use crate::call::MethodCall;
use crate::convert::{covers, filter_subject};
use crate::status::OrStatus;
use crate::tenant::Tenant;

/// What a stream's metadata says of its owner, beside its name.
const OWNER: &str = "narun-tenant";

impl MethodCall<'_> {
    /// NATS's name of the tenant's stream of this name.
    pub(crate) fn stream_name(&self, name: &str) -> Result<String, Status> {
        self.tenant().stream(name).or_status()
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

/// Says in a stream's metadata whose it is.
pub(crate) fn stamp(tenant: &Tenant, stream: &mut Config) {
    stream.metadata.insert(OWNER.to_owned(), owner(tenant));
}

fn owner(tenant: &Tenant) -> String {
    // The subjects that it may have are what tells one tenant from all others.
    tenant.subject(">").unwrap_or_default()
}

fn is_owned(tenant: &Tenant, info: &Info) -> bool {
    let owned = info.config.metadata.get(OWNER).is_some_and(|stamp| *stamp == owner(tenant));
    owned && tenant.own_stream(&info.config.name).is_some()
}
