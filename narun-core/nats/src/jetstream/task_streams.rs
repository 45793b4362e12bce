use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy};
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};

use super::api::{self, Api, ApiError};
use super::bodies::{self, BodyStore, BodyStoreError, UndeletedBodies};
use super::declare::{DeclareError, Warnings, declare_consumer, declare_stream};
use super::outcomes::{self, OutcomeStore};
use super::settings::{Storage, StreamSettings};
use super::{compare, objects};
use crate::nats_client::NatsClient;
use narun_core::{App, Namespace};

/// The streams and buckets of a namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TaskStreams {
    nats: NatsClient,
    api: Api<Context>,
    namespace: Namespace,
    settings: StreamSettings,
    warnings: Arc<Warnings>,
    undeleted: Arc<UndeletedBodies>,
}

impl TaskStreams {
    /// For this namespace, through this client. Sends nothing. Must be called within a tokio runtime.
    pub fn new(nats: impl Into<NatsClient>, namespace: Namespace, settings: StreamSettings) -> Self {
        let nats = nats.into();
        let api = api(&nats, &settings, api::LIMIT);
        Self { nats, api, namespace, settings, warnings: Arc::default(), undeleted: Arc::default() }
    }

    /// The namespace.
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The JetStream context.
    pub const fn context(&self) -> &Context {
        self.api.requester()
    }

    /// The full subject of an operation of JetStream's API, such as `CONSUMER.MSG.NEXT.<stream>.<consumer>`.
    pub fn api_subject(&self, operation: &str) -> String {
        self.api.subject(operation)
    }

    /// Returns whether this is the subject of a request to JetStream's API about the stream of durable requests or that of
    /// dead letters.
    pub fn is_api_subject(&self, subject: &str) -> bool {
        let Some(operation) = subject.strip_prefix(&self.api_subject("")) else { return false };
        let (tasks, dead) = (self.namespace.task_stream(), self.namespace.dead_stream());
        operation.split('.').any(|token| token == tasks || token == dead)
    }

    /// The log of bodies that could not be deleted, which all [`bodies`](Self::bodies) share.
    pub fn undeleted(&self) -> &UndeletedBodies {
        &self.undeleted
    }

    /// How long the server recognises a request that is published twice, at least.
    pub fn duplicate_window(&self) -> Duration {
        // The server refuses a window that is longer than messages are kept.
        self.settings
            .max_age
            .map_or(self.settings.duplicate_window, |age| age.min(self.settings.duplicate_window))
    }

    /// Declares the stream of durable requests.
    pub async fn declare_stream(&self) -> Result<(), DeclareError> {
        let wanted = stream::Config {
            name: self.namespace.task_stream().to_owned(),
            subjects: vec![self.namespace.task_subjects()],
            retention: RetentionPolicy::WorkQueue,
            max_messages: self.settings.max_messages.map_or(-1, limit),
            max_bytes: limit(self.settings.max_bytes),
            max_age: self.settings.max_age.unwrap_or_default(),
            duplicate_window: self.duplicate_window(),
            ..self.common()
        };
        self.declare(&format!("stream {}", wanted.name), "max_bytes", &wanted).await
    }

    /// Declares the stream of dead letters.
    pub async fn declare_dead_letters(&self) -> Result<(), DeclareError> {
        let wanted = stream::Config {
            name: self.namespace.dead_stream(),
            subjects: vec![self.namespace.dead_subjects()],
            max_bytes: limit(self.settings.dead_letters_max_bytes),
            allow_direct: true,
            ..self.common()
        };
        self.declare(&format!("stream {}", wanted.name), "dead_letters_max_bytes", &wanted).await
    }

    /// Declares the app's durable consumer, with this ack wait if it is created. Returns the consumer's ack wait.
    pub async fn declare_consumer(&self, app: &App, ack_wait: Duration) -> Result<Duration, DeclareError> {
        let wanted = consumer::Config {
            durable_name: Some(app.to_string()),
            ack_policy: AckPolicy::Explicit,
            ack_wait,
            max_deliver: -1,
            max_ack_pending: -1,
            filter_subject: self.namespace.task_subject(app),
            ..consumer::Config::default()
        };
        let (stream, create) = (self.namespace.task_stream(), self.settings.declare);
        let found =
            declare_consumer(&self.api, stream, app.as_str(), &wanted, create, &self.warnings).await?;
        Ok(compare::ack_wait(&found))
    }

    /// Declares the bucket of outcomes.
    pub async fn outcomes(&self) -> Result<OutcomeStore, DeclareError> {
        let bucket = self.namespace.outcomes_bucket();
        // As clients in all languages create a key-value bucket.
        let wanted = stream::Config {
            name: format!("KV_{bucket}"),
            subjects: vec![format!("$KV.{bucket}.>")],
            max_messages_per_subject: 1,
            max_bytes: limit(self.settings.outcomes_max_bytes),
            max_age: self.outcome_ttl(),
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..self.common()
        };
        self.declare(&format!("bucket {bucket}"), "outcomes_max_bytes", &wanted).await?;
        Ok(OutcomeStore::new(self.api.clone(), bucket, self.outcome_ttl(), self.settings.domain.is_some()))
    }

    /// How often [`OutcomeStore::keep_secret`] must be called.
    pub fn secret_check(&self) -> Duration {
        outcomes::check_every(self.outcome_ttl())
    }

    /// If an outcome expired while the stream still recognises its request as a duplicate, the same request would not be
    /// stored again, and never get a response.
    fn outcome_ttl(&self) -> Duration {
        self.settings.outcome_ttl.max(self.duplicate_window())
    }

    /// Declares the bucket of bodies.
    pub async fn bodies(&self) -> Result<BodyStore, DeclareError> {
        let bucket = self.namespace.bodies_bucket();
        // As clients in all languages create an object store.
        let wanted = stream::Config {
            name: objects::stream_name(&bucket),
            subjects: objects::stream_subjects(&bucket),
            max_bytes: limit(self.settings.bodies_max_bytes),
            allow_rollup: true,
            allow_direct: true,
            ..self.common()
        };
        self.declare(&format!("bucket {bucket}"), "bodies_max_bytes", &wanted).await?;
        Ok(self.body_store())
    }

    fn body_store(&self) -> BodyStore {
        // Many bodies that are stored at once wait for one disk.
        let api = api(&self.nats, &self.settings, bodies::LIMIT);
        BodyStore::new(api, self.namespace.bodies_bucket(), self.undeleted.clone())
    }

    /// Deletes bodies that no request refers to, as they were left behind by processes that died. `age` is how long a body
    /// must not have changed: longer than it takes to receive a part of it, or to publish its request. Returns how many
    /// bodies were deleted. Looks at 256 bodies at most.
    ///
    /// Those that were not stored to the end are deleted in any case, others only while there are no durable requests and
    /// no dead letters. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`BodyStoreError::Unavailable`], also if there is no bucket.
    pub async fn sweep_bodies(&self, age: Duration) -> Result<usize, BodyStoreError> {
        let bodies = self.body_store();
        let (whole, partial): (Vec<_>, Vec<_>) =
            bodies.old(age).await?.into_iter().partition(|body| body.is_whole);
        for body in &partial {
            bodies.delete_old(body).await?;
        }
        if whole.is_empty() || !self.are_empty().await? {
            return Ok(partial.len());
        }
        for body in &whole {
            bodies.delete_old(body).await?;
        }
        Ok(partial.len() + whole.len())
    }

    /// Whether there are no durable requests and no dead letters.
    async fn are_empty(&self) -> Result<bool, ApiError> {
        let requests =
            async || Ok::<_, ApiError>(self.api.stream_info(self.namespace.task_stream()).await?.state);
        let before = requests().await?;
        if before.messages > 0
            || self.api.stream_info(&self.namespace.dead_stream()).await?.state.messages > 0
        {
            return Ok(false);
        }
        // A dead letter may have been put back between the two.
        let after = requests().await?;
        Ok((after.messages, after.last_sequence) == (0, before.last_sequence))
    }

    /// `setting` is the one that says how many bytes the stream may have.
    async fn declare(
        &self,
        what: &str,
        setting: &'static str,
        wanted: &stream::Config,
    ) -> Result<(), DeclareError> {
        declare_stream(&self.api, what, setting, wanted, self.settings.declare, &self.warnings).await
    }

    /// The configuration that all streams have in common. Without a duplicate window the server uses 2 minutes, or the
    /// maximum age if that is shorter.
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
}

/// A limit as the server has it. It takes 0 for no limit, which must not be what a user gets who allows nothing.
fn limit(limit: u64) -> i64 {
    i64::try_from(limit.max(1)).unwrap_or(-1)
}

/// JetStream's API in the domain of these settings. `limit` is how long a PubAck may take.
fn api(nats: &NatsClient, settings: &StreamSettings, limit: Duration) -> Api<Context> {
    let (builder, client) = (ContextBuilder::new().timeout(limit), nats.client().clone());
    let api = match &settings.domain {
        None => Api::new(builder.build(client)),
        Some(domain) => Api::new(builder.domain(domain).build(client)).domain(domain),
    };
    api.denials(nats)
}
