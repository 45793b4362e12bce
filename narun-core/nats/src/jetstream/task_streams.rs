use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{self, AckPolicy};
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use serde_json::json;
use tracing::{debug, warn};

use super::api::{self, ApiError};
use super::{BodyStore, OutcomeStore, Storage, StreamSettings, compare};
use narun_core::{App, Namespace};

/// What a namespace keeps in JetStream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TaskStreams {
    context: Context,
    namespace: Namespace,
    settings: StreamSettings,
}

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
}

impl DeclareError {
    fn from_api(what: &str, error: ApiError) -> Self {
        let what = what.to_owned();
        match error {
            ApiError::Unavailable(why) => Self::Unavailable { what, why },
            refused => Self::Refused { what, why: refused.words() },
        }
    }
}

impl TaskStreams {
    /// Of this namespace, reached through this client; nothing is sent yet. To be called in a runtime of tokio's.
    pub fn new(client: Client, namespace: Namespace, settings: StreamSettings) -> Self {
        Self { context: ContextBuilder::new().timeout(api::LIMIT).build(client), namespace, settings }
    }

    /// The namespace.
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The JetStream context.
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// For how long at least the server recognises a request that was published twice.
    pub fn duplicate_window(&self) -> Duration {
        // The server takes none that is longer than messages live.
        self.settings
            .max_age
            .map_or(self.settings.duplicate_window, |age| age.min(self.settings.duplicate_window))
    }

    /// Sees to it that the stream of durable requests exists.
    pub async fn declare_stream(&self) -> Result<(), DeclareError> {
        let wanted = stream::Config {
            name: self.namespace.task_stream().to_owned(),
            subjects: vec![self.namespace.task_subjects()],
            retention: RetentionPolicy::WorkQueue,
            max_messages: or_unlimited(self.settings.max_messages),
            max_bytes: or_unlimited(self.settings.max_bytes),
            max_age: self.settings.max_age.unwrap_or_default(),
            duplicate_window: self.duplicate_window(),
            ..self.common()
        };
        self.ensure(&format!("stream {}", wanted.name), &wanted).await
    }

    /// Sees to it that the stream of dead letters exists.
    pub async fn declare_dead_letters(&self) -> Result<(), DeclareError> {
        let wanted = stream::Config {
            name: self.namespace.dead_stream(),
            subjects: vec![self.namespace.dead_subjects()],
            allow_direct: true,
            ..self.common()
        };
        self.ensure(&format!("stream {}", wanted.name), &wanted).await
    }

    /// Sees to it that the app's durable consumer exists, with this ack wait if it has to be declared; returns the one
    /// that is in force.
    pub async fn declare_consumer(&self, app: &App, ack_wait: Duration) -> Result<Duration, DeclareError> {
        let what = format!("consumer {app} of stream {}", self.namespace);
        let wanted = consumer::Config {
            durable_name: Some(app.to_string()),
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            max_deliver: -1,
            max_ack_pending: -1,
            filter_subject: self.namespace.task_subject(app),
            ..consumer::Config::default()
        };
        let mut found = self.consumer(app).await;
        if matches!(&found, Err(error) if error.is(ErrorCode::CONSUMER_NOT_FOUND)) && self.settings.declare {
            found = match self.create_consumer(app, &wanted).await {
                // Somebody else was faster, with other settings.
                Err(ApiError::Refused { code: ErrorCode(10013 | 10105 | 10148), .. }) => {
                    self.consumer(app).await
                }
                created => created,
            };
        }
        let found = found.map_err(|error| match error {
            ApiError::Refused { code: ErrorCode::CONSUMER_NOT_FOUND, .. } => {
                DeclareError::Missing { what: what.clone() }
            }
            ApiError::Refused { code: ErrorCode::STREAM_NOT_FOUND, .. } => {
                DeclareError::Missing { what: format!("stream {}", self.namespace) }
            }
            error => DeclareError::from_api(&what, error),
        })?;
        if let Some(difference) = compare::consumer_difference(&wanted, &found) {
            return Err(DeclareError::Mismatch { what, difference });
        }
        for difference in compare::consumer_remarks(&wanted, &found) {
            warn!(%what, %difference, "a consumer is not as set");
        }
        Ok(compare::ack_wait(&found))
    }

    /// The bucket of outcomes, which is declared if need be.
    pub async fn outcomes(&self) -> Result<OutcomeStore, DeclareError> {
        let bucket = self.namespace.outcomes_bucket();
        // As clients in all languages make a key-value bucket.
        let wanted = stream::Config {
            name: format!("KV_{bucket}"),
            subjects: vec![format!("$KV.{bucket}.>")],
            max_messages_per_subject: 1,
            // A record that is gone while the stream still recognises its request would be a request that is
            // never published again, and never answered.
            max_age: self.settings.outcome_ttl.max(self.duplicate_window()),
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..self.common()
        };
        self.ensure(&format!("bucket {bucket}"), &wanted).await?;
        Ok(OutcomeStore::new(self.context.clone(), bucket))
    }

    /// The bucket of bodies, which is declared if need be.
    pub async fn bodies(&self) -> Result<BodyStore, DeclareError> {
        let bucket = self.namespace.bodies_bucket();
        // As clients in all languages make an object store.
        let wanted = stream::Config {
            name: format!("OBJ_{bucket}"),
            subjects: vec![format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
            allow_rollup: true,
            allow_direct: true,
            ..self.common()
        };
        self.ensure(&format!("bucket {bucket}"), &wanted).await?;
        Ok(BodyStore::new(self.context.clone(), bucket))
    }

    /// What all streams have in common. A duplicate window that is left out is the server's default of 2 minutes, or
    /// the maximum age if that is shorter.
    fn common(&self) -> stream::Config {
        stream::Config {
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            storage: match self.settings.storage {
                Storage::File => StorageType::File,
                Storage::Memory => StorageType::Memory,
            },
            num_replicas: self.settings.replicas,
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            ..stream::Config::default()
        }
    }

    /// Sees to it that a stream exists as it should be.
    async fn ensure(&self, what: &str, wanted: &stream::Config) -> Result<(), DeclareError> {
        let mut found = self.stream(&wanted.name).await;
        if matches!(&found, Err(error) if error.is(ErrorCode::STREAM_NOT_FOUND)) && self.settings.declare {
            debug!(what, "declaring what is missing");
            found = match self.create_stream(wanted).await {
                // Somebody else was faster, with other settings.
                Err(error) if error.is(ErrorCode::STREAM_NAME_EXIST) => self.stream(&wanted.name).await,
                // What was just created is compared as well: old servers drop settings that they do not know.
                created => created,
            };
        }
        let found = found.map_err(|error| match error.is(ErrorCode::STREAM_NOT_FOUND) {
            true => DeclareError::Missing { what: what.to_owned() },
            false => DeclareError::from_api(what, error),
        })?;
        if let Some(difference) = compare::stream_difference(wanted, &found) {
            return Err(DeclareError::Mismatch { what: what.to_owned(), difference });
        }
        for difference in compare::stream_remarks(wanted, &found) {
            warn!(what, %difference, "a stream is not as set");
        }
        Ok(())
    }

    async fn stream(&self, name: &str) -> Result<stream::Config, ApiError> {
        let info: stream::Info =
            api::answer(self.context.request(format!("STREAM.INFO.{name}"), &())).await?;
        Ok(info.config)
    }

    async fn create_stream(&self, wanted: &stream::Config) -> Result<stream::Config, ApiError> {
        let subject = format!("STREAM.CREATE.{}", wanted.name);
        let info: stream::Info = api::answer(self.context.request(subject, wanted)).await?;
        Ok(info.config)
    }

    async fn consumer(&self, app: &App) -> Result<consumer::Config, ApiError> {
        let subject = format!("CONSUMER.INFO.{}.{app}", self.namespace);
        let info: consumer::Info = api::answer(self.context.request(subject, &json!({}))).await?;
        Ok(info.config)
    }

    async fn create_consumer(
        &self,
        app: &App,
        wanted: &consumer::Config,
    ) -> Result<consumer::Config, ApiError> {
        let subject = format!("CONSUMER.CREATE.{}.{app}.{}", self.namespace, wanted.filter_subject);
        // Servers before 2.10 do not know the action, and would change a consumer that has come in between.
        let request =
            json!({ "stream_name": self.namespace.task_stream(), "config": wanted, "action": "create" });
        let info: consumer::Info = api::answer(self.context.request(subject, &request)).await?;
        Ok(info.config)
    }
}

fn or_unlimited(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}
