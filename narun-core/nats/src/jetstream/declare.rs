//! Declares streams and consumers that are missing, and checks those that exist.

use async_nats::jetstream::{Context, ErrorCode, consumer, stream};
use serde_json::json;
use tracing::{debug, warn};

use super::api::{Api, ApiError};
use super::compare;

/// Why something is not there as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// It exists otherwise, which breaks a guarantee: for people to mend.
    #[error("{what} has {difference}")]
    Mismatch {
        /// Such as "stream TASK".
        what: String,
        /// Such as "retention limits, not work queue".
        difference: String,
    },
    /// It does not exist, and is not to be declared.
    #[error("{what} does not exist")]
    Missing {
        /// Such as "stream TASK".
        what: String,
    },
    /// The server refuses: for people to mend.
    #[error("{what} cannot be declared: {why}")]
    Refused {
        /// Such as "stream TASK".
        what: String,
        /// The server's words.
        why: String,
    },
    /// No answer, no connection, no leader: worth trying again.
    #[error("{what} cannot be reached: {why}")]
    Unavailable {
        /// Such as "stream TASK".
        what: String,
        /// What went wrong.
        why: String,
    },
}

impl DeclareError {
    /// Whether trying again may help without anybody doing anything.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    fn from_api(what: &str, error: &ApiError) -> Self {
        let (what, why) = (what.to_owned(), error.to_string());
        if error.is_temporary() { Self::Unavailable { what, why } } else { Self::Refused { what, why } }
    }
}

/// Checks a stream, and creates it first if it is missing and `create` is set. `what` names it in errors.
pub(super) async fn declare_stream(
    api: &Api<Context>,
    what: &str,
    wanted: &stream::Config,
    create: bool,
) -> Result<(), DeclareError> {
    let mut found = stream(api, &wanted.name).await;
    if matches!(&found, Err(error) if error.is(ErrorCode::STREAM_NOT_FOUND)) && create {
        debug!(what, "declaring what is missing");
        found = match create_stream(api, wanted).await {
            // Somebody else was faster, with other settings.
            Err(error) if error.is(ErrorCode::STREAM_NAME_EXIST) => stream(api, &wanted.name).await,
            // What was just created is compared as well: old servers drop settings that they do not know.
            created => created,
        };
    }
    let found = found.map_err(|error| match error.is(ErrorCode::STREAM_NOT_FOUND) {
        true => DeclareError::Missing { what: what.to_owned() },
        false => DeclareError::from_api(what, &error),
    })?;
    if let Some(difference) = compare::stream_difference(wanted, &found) {
        return Err(DeclareError::Mismatch { what: what.to_owned(), difference });
    }
    for difference in compare::stream_remarks(wanted, &found) {
        warn!(what, %difference, "a stream is not as set");
    }
    Ok(())
}

/// Checks a durable consumer, and creates it first if it is missing and `create` is set. Returns the one in force.
pub(super) async fn declare_consumer(
    api: &Api<Context>,
    stream: &str,
    name: &str,
    wanted: &consumer::Config,
    create: bool,
) -> Result<consumer::Config, DeclareError> {
    let what = format!("consumer {name} of stream {stream}");
    let mut found = consumer(api, stream, name).await;
    if matches!(&found, Err(error) if error.is(ErrorCode::CONSUMER_NOT_FOUND)) && create {
        found = match create_consumer(api, stream, name, wanted).await {
            // Somebody else was faster, with other settings.
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
    for difference in compare::consumer_remarks(wanted, &found) {
        warn!(%what, %difference, "a consumer is not as set");
    }
    Ok(found)
}

async fn stream(api: &Api<Context>, name: &str) -> Result<stream::Config, ApiError> {
    Ok(api.stream_info(name).await?.config)
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
    // Servers before 2.10 do not know the action, and would change a consumer that has come in between.
    let request = json!({ "stream_name": stream, "config": wanted, "action": "create" });
    let info: consumer::Info = api.request(&operation, &request).await?;
    Ok(info.config)
}
