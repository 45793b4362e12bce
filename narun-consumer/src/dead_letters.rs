//! Durable requests that were given up: to be looked at, put back or deleted.

mod error;
mod letter;

use async_nats::Client;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{DeleteMessageErrorKind, Stream};
use narun_core::frame::{ObjectRef, RequestFrame, RequestHead};
use narun_core::{App, Limits, NameError, Namespace};
use narun_nats::jetstream::{DeclareError, StreamSettings, TaskStreams};

pub use error::DeadLetterError;
pub use letter::DeadLetter;

/// How many are listed at once at most.
const PAGE: usize = 256;

/// The dead letters of a namespace: durable requests that consumers gave up, with the reason.
///
/// They are kept, with their bodies, until they are put back or deleted. Any number of programs may look at them.
///
/// ```no_run
/// # async fn example(nats: async_nats::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use narun_consumer::DeadLetters;
///
/// let dead = DeadLetters::new(nats, "TASK")?;
/// let mut next = 0;
/// loop {
///     let page = dead.list(Some("hello"), next, 100).await?;
///     let Some(last) = page.last() else { break };
///     next = last.sequence() + 1;
///     for letter in &page {
///         println!("{}: {} (delivered {} times)", letter.sequence(), letter.reason(), letter.deliveries());
///         match letter.request() {
///             Some(request) if request.uri.path().starts_with("/reports/") => dead.put_back(letter.sequence()).await?,
///             _ => dead.delete(letter.sequence()).await?,
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DeadLetters {
    client: Client,
    namespace: Namespace,
    settings: StreamSettings,
}

impl DeadLetters {
    /// Those of this namespace; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`NameError`] if that is no name of a namespace.
    pub fn new(client: Client, namespace: impl Into<String>) -> Result<Self, NameError> {
        let namespace = Namespace::new(namespace)?;
        Ok(Self { client, namespace, settings: StreamSettings::new() })
    }

    /// What the buckets of outcomes and bodies are checked for: the settings that the gateways and consumers of the
    /// namespace have. Default [`StreamSettings::new`].
    #[must_use]
    pub fn stream_settings(mut self, settings: StreamSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Dead letters of an app, or of all apps, in the order in which they came, from this sequence on: up to `limit`,
    /// and no more than 256 at once. An empty list: there are no more. Unreadable ones are listed as well.
    ///
    /// Each is fetched on its own, whole. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError::Unavailable`]. A namespace that has no stream of dead letters has no dead letters.
    pub async fn list(
        &self,
        app: Option<&str>,
        from_sequence: u64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let subject = match app.map(App::new) {
            None => self.namespace.dead_subjects(),
            Some(Ok(app)) => self.namespace.dead_subject(&app),
            // Nothing that has no name of an app is kept for one.
            Some(Err(_)) => return Ok(Vec::new()),
        };
        let stream = self.stream().await?;
        let mut letters = Vec::new();
        let mut next = from_sequence.max(1);
        while letters.len() < limit.min(PAGE) {
            let message =
                stream.raw_message_builder().sequence(next).next_by_subject(subject.as_str()).send().await;
            match message.map_err(DeadLetterError::from_raw) {
                Ok(message) => {
                    next = message.sequence + 1;
                    letters.push(DeadLetter::read(&message, &self.namespace));
                }
                Err(DeadLetterError::NotFound) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(letters)
    }

    /// Puts a dead letter back into the stream of its app, as if it had just come, and removes it here.
    ///
    /// It keeps its id, and no client waits for its answer; where its outcome is kept, it is pending again. Not cancel
    /// safe: dropped in between, it may be in both places; putting it back again within the stream's duplicate window
    /// (2 minutes, unless set otherwise) then only removes it here, and later it runs twice.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`]; it stays a dead letter then, though it may have been put back as well, as above.
    pub async fn put_back(&self, sequence: u64) -> Result<(), DeadLetterError> {
        let stream = self.stream().await?;
        let message = stream.get_raw_message(sequence).await.map_err(DeadLetterError::from_raw)?;
        let head = self.head_of(&message)?;
        let app = self
            .app_of(&message)
            .ok_or_else(|| DeadLetterError::Unreadable("its subject is that of no app".to_owned()))?;
        let tasks = self.tasks();
        if let Some(outcome) = &head.outcome {
            tasks.outcomes().await?.reopen(head.id, outcome).await?;
        }
        let put_back = PublishMessage::build()
            .payload(message.payload)
            .message_id(format!("{}-back-{sequence}", head.id))
            .expected_stream(self.namespace.task_stream());
        tasks
            .context()
            .send_publish(self.namespace.task_subject(&app), put_back)
            .await
            .map_err(DeadLetterError::unavailable)?
            .await
            .map_err(DeadLetterError::unavailable)?;
        self.remove(&stream, sequence).await
    }

    /// Deletes a dead letter, and its body where that is held as an object.
    ///
    /// Not cancel safe: dropped in between, the body may be gone already.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`]; it stays a dead letter then.
    pub async fn delete(&self, sequence: u64) -> Result<(), DeadLetterError> {
        let stream = self.stream().await?;
        let message = stream.get_raw_message(sequence).await.map_err(DeadLetterError::from_raw)?;
        // What is foreign stays: it is not ours to delete.
        let head = self.head_of(&message).ok();
        if let Some(object) = head.as_ref().and_then(|head| head.object.as_ref()) {
            self.delete_body(object).await?;
        }
        self.remove(&stream, sequence).await
    }

    async fn delete_body(&self, object: &ObjectRef) -> Result<(), DeadLetterError> {
        match self.tasks().bodies().await {
            Ok(bodies) => Ok(bodies.delete(object).await?),
            // Without a bucket there is no body.
            Err(DeclareError::Missing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn remove(&self, stream: &Stream<()>, sequence: u64) -> Result<(), DeadLetterError> {
        match stream.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                // Somebody else was faster.
                DeleteMessageErrorKind::JetStream(error)
                    if matches!(
                        error.error_code(),
                        ErrorCode::NO_MESSAGE_FOUND | ErrorCode::SEQUENCE_NOT_FOUND
                    ) =>
                {
                    Ok(())
                }
                _ => Err(DeadLetterError::unavailable(error)),
            },
        }
    }

    async fn stream(&self) -> Result<Stream<()>, DeadLetterError> {
        let context = self.tasks().context().clone();
        context.get_stream_no_info(self.namespace.dead_stream()).await.map_err(DeadLetterError::unavailable)
    }

    fn tasks(&self) -> TaskStreams {
        TaskStreams::new(self.client.clone(), self.namespace.clone(), self.settings.clone().declare(false))
    }

    /// The head of a request that consumers would take.
    fn head_of(&self, message: &StreamMessage) -> Result<RequestHead, DeadLetterError> {
        let frame = RequestFrame::decode(&message.payload, &Limits::default())
            .map_err(|error| DeadLetterError::Unreadable(error.to_string()))?;
        let is_own =
            frame.head.object.as_ref().is_none_or(|object| object.bucket == self.namespace.bodies_bucket())
                && frame
                    .head
                    .outcome
                    .as_ref()
                    .is_none_or(|outcome| outcome.bucket == self.namespace.outcomes_bucket());
        if is_own { Ok(frame.head) } else { Err(DeadLetterError::Foreign) }
    }

    fn app_of(&self, message: &StreamMessage) -> Option<App> {
        let subjects = self.namespace.dead_subjects();
        App::new(message.subject.strip_prefix(subjects.strip_suffix('>')?)?).ok()
    }
}
