//! Declares streams and consumers that are missing, and checks those that exist.

use async_nats::jetstream::{Context, ErrorCode, consumer, stream};
use serde_json::json;
use tracing::{info, warn};

use super::api::{Api, ApiError};
use super::compare;
use crate::events::RepeatedEvents;
use crate::permissions::Denied;

/// The differences that were logged. Each is logged once, however often it is found.
#[derive(Debug, Default)]
pub(super) struct Warnings(RepeatedEvents<String>);

/// Why a stream, consumer or bucket does not exist as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// It exists with a configuration that breaks a guarantee: an operator has to change it.
    #[error("{what} has {difference}")]
    Mismatch {
        /// Such as "stream TASK".
        what: String,
        /// Such as "retention limits, not work queue".
        difference: String,
    },
    /// It does not exist, and [`StreamSettings::declare`](super::StreamSettings::declare) is false.
    #[error("{what} does not exist")]
    Missing {
        /// Such as "stream TASK".
        what: String,
    },
    /// The server refused: an operator has to change something.
    #[error("{what} cannot be declared: {why}")]
    Refused {
        /// Such as "stream TASK".
        what: String,
        /// The server's error.
        why: String,
    },
    /// The server or the account has no room for the bytes that it may hold: an operator has to lower the setting or raise
    /// the limit.
    #[error(
        "{what} cannot be declared, as there is no room for {bytes} bytes ({why}): lower StreamSettings::{setting} \
         (in the gateway's configuration `stream.{setting}`), or raise the limit of the account or the server"
    )]
    NoRoom {
        /// Such as "stream TASK".
        what: String,
        /// The method of [`StreamSettings`](super::StreamSettings), which is also the key of the configuration: such as
        /// "max_bytes".
        setting: &'static str,
        /// Its value. -1 means no limit.
        bytes: i64,
        /// The server's error.
        why: String,
    },
    /// JetStream, or the stream, has no leader: a retry may succeed once enough servers are back.
    #[error("{what} has no leader")]
    NoLeader {
        /// Such as "stream TASK".
        what: String,
    },
    /// JetStream is turned off, or no server that runs it can be reached: a retry may succeed once it can.
    #[error("{what} cannot be reached: {}", ApiError::NoResponders)]
    NoJetStream {
        /// Such as "stream TASK".
        what: String,
    },
    /// The user lacks a permission, which may be granted at any time.
    #[error("{what} cannot be reached: {denied}")]
    NotPermitted {
        /// Such as "stream TASK".
        what: String,
        /// The permission.
        denied: Denied,
    },
    /// There was no response or no connection: a retry may succeed.
    #[error("{what} cannot be reached: {why}")]
    Unavailable {
        /// Such as "stream TASK".
        what: String,
        /// Why the request failed.
        why: String,
    },
}

impl Warnings {
    fn differs(&self, what: &str, difference: &str) {
        if self.0.is_first(&format!("{what}: {difference}"), "") {
            warn!(what, difference, "what exists differs from the settings");
        }
    }
}

impl DeclareError {
    /// Whether a retry may succeed without a change by an operator, or once a permission is granted.
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::NoLeader { .. }
                | Self::NoJetStream { .. }
                | Self::NotPermitted { .. }
        )
    }

    fn from_api(what: &str, error: &ApiError) -> Self {
        let (what, why) = (what.to_owned(), error.to_string());
        if error.is_leaderless() {
            return Self::NoLeader { what };
        }
        if let ApiError::Denied(denied) = error {
            return Self::NotPermitted { what, denied: denied.clone() };
        }
        if matches!(error, ApiError::NoResponders) {
            return Self::NoJetStream { what };
        }
        if error.is_temporary() { Self::Unavailable { what, why } } else { Self::Refused { what, why } }
    }
}

/// Checks a stream, and creates it first if it is missing and `create` is set. `what` names it in errors, and `setting`
/// how many bytes it may have.
pub(super) async fn declare_stream(
    api: &Api<Context>,
    what: &str,
    setting: &'static str,
    wanted: &stream::Config,
    create: bool,
    warnings: &Warnings,
) -> Result<(), DeclareError> {
    let mut found = stream(api, &wanted.name).await;
    if matches!(&found, Err(error) if error.is(ErrorCode::STREAM_NOT_FOUND)) && create {
        info!(what, "declaring what is missing");
        found = match create_stream(api, wanted).await {
            // Another process has created it meanwhile, with another configuration.
            Err(error) if error.is(ErrorCode::STREAM_NAME_EXIST) => stream(api, &wanted.name).await,
            // The created stream is compared too: old servers drop settings that they do not know.
            created => created,
        };
    }
    let found = found.map_err(|error| match error.is(ErrorCode::STREAM_NOT_FOUND) {
        true => DeclareError::Missing { what: what.to_owned() },
        false if error.is_out_of_room() => DeclareError::NoRoom {
            what: what.to_owned(),
            setting,
            bytes: wanted.max_bytes,
            why: error.to_string(),
        },
        false => DeclareError::from_api(what, &error),
    })?;
    if let Some(difference) = compare::stream_difference(wanted, &found) {
        return Err(DeclareError::Mismatch { what: what.to_owned(), difference });
    }
    for difference in compare::stream_warnings(wanted, &found) {
        warnings.differs(what, &difference);
    }
    Ok(())
}

/// Checks a durable consumer, and creates it first if it is missing and `create` is set. Returns its
/// configuration, which may be another than the wanted one.
pub(super) async fn declare_consumer(
    api: &Api<Context>,
    stream: &str,
    name: &str,
    wanted: &consumer::Config,
    create: bool,
    warnings: &Warnings,
) -> Result<consumer::Config, DeclareError> {
    let what = format!("consumer {name} of stream {stream}");
    let mut found = consumer(api, stream, name).await;
    if matches!(&found, Err(error) if error.is(ErrorCode::CONSUMER_NOT_FOUND)) && create {
        info!(%what, "declaring what is missing");
        found = match create_consumer(api, stream, name, wanted).await {
            // Another process has created it meanwhile, with another configuration.
            Err(error) if error.is_other_consumer() => consumer(api, stream, name).await,
            created => created,
        };
    }
    let found = found.map_err(|error| match error {
        error if error.is(ErrorCode::CONSUMER_NOT_FOUND) => DeclareError::Missing { what: what.clone() },
        error if error.is(ErrorCode::STREAM_NOT_FOUND) => {
            DeclareError::Missing { what: format!("stream {stream}") }
        }
        error => DeclareError::from_api(&what, &error),
    })?;
    if let Some(difference) = compare::consumer_difference(wanted, &found) {
        return Err(DeclareError::Mismatch { what, difference });
    }
    for difference in compare::consumer_warnings(wanted, &found) {
        warnings.differs(&what, &difference);
    }
    Ok(found)
}

async fn stream(api: &Api<Context>, name: &str) -> Result<stream::Config, ApiError> {
    let info = api.stream_info(name).await?;
    // A member of a group without a leader still returns what it knows of the stream.
    match info.cluster {
        Some(cluster) if cluster.leader.as_deref().is_none_or(str::is_empty) => Err(ApiError::NoLeader),
        _ => Ok(info.config),
    }
}

async fn create_stream(api: &Api<Context>, wanted: &stream::Config) -> Result<stream::Config, ApiError> {
    let operation = format!("STREAM.CREATE.{}", wanted.name);
    let info: stream::Info = api.request(&operation, wanted).await?;
    Ok(info.config)
}

async fn consumer(api: &Api<Context>, stream: &str, name: &str) -> Result<consumer::Config, ApiError> {
    Ok(api.consumer_info(stream, name).await?.config)
}

async fn create_consumer(
    api: &Api<Context>,
    stream: &str,
    name: &str,
    wanted: &consumer::Config,
) -> Result<consumer::Config, ApiError> {
    let operation = format!("CONSUMER.CREATE.{stream}.{name}.{}", wanted.filter_subject);
    // Servers before 2.10 ignore the action, and would change a consumer that was created in between.
    let request = json!({ "stream_name": stream, "config": wanted, "action": "create" });
    let info: consumer::Info = api.request(&operation, &request).await?;
    Ok(info.config)
}
