//! Dead letters: listing them, putting them back, and deleting them.

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

/// The largest number of dead letters in one list.
const PAGE: usize = 256;

/// The dead letters of a namespace: durable requests that failed for good, each with its reason.
///
/// They are kept, with their bodies, until they are put back or deleted. Any number of programs may do so.
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
    /// Returns the dead letters of a namespace. Sends nothing to the server.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the name is invalid.
    pub fn new(client: impl Into<Client>, namespace: impl Into<String>) -> Result<Self, NameError> {
        let namespace = Namespace::new(namespace)?;
        Ok(Self { client: client.into(), namespace, settings: StreamSettings::new() })
    }

    /// Sets the settings with which the buckets of outcomes and bodies are compared. Use those of the namespace's gateways
    /// and consumers. Default: [`StreamSettings::new`].
    #[must_use]
    pub fn stream_settings(mut self, settings: StreamSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Lists the dead letters of an app, or of all apps if `app` is `None`, in order of their sequences, starting at
    /// `from_sequence`.
    ///
    /// Returns at most `limit` dead letters, and never more than 256. The list is empty if there are no more, or if the
    /// namespace has no stream of dead letters. It includes unreadable dead letters. Each dead letter is fetched with a
    /// request of its own, together with its payload. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError::Unavailable`].
    pub async fn list(
        &self,
        app: Option<&str>,
        from_sequence: u64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let subject = match app.map(App::new) {
            None => self.namespace.dead_subjects(),
            Some(Ok(app)) => self.namespace.dead_subject(&app),
            // An invalid name is that of no app.
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

    /// Publishes a dead letter to the stream of requests again, as a new request with the same id, and removes it from
    /// the dead letters.
    ///
    /// No client waits for its response. If the request has a stored outcome, that is pending again.
    ///
    /// Not cancel safe: if the future is dropped, the dead letter may have been published but not removed. Calling this
    /// again within the stream's duplicate window (2 minutes by default) then only removes it; after that window, the
    /// request is published twice.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`]. The dead letter has not been removed, but may have been published, as above.
    pub async fn put_back(&self, sequence: u64) -> Result<(), DeadLetterError> {
        let stream = self.stream().await?;
        let message = stream.get_raw_message(sequence).await.map_err(DeadLetterError::from_raw)?;
        let head = self.head_of(&message)?;
        let app = self.app_of(&message).ok_or_else(|| {
            DeadLetterError::Unreadable("its subject has no valid name of an app".to_owned())
        })?;
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

    /// Deletes a dead letter, and its body if that is stored as an object.
    ///
    /// Not cancel safe: if the future is dropped, only the body may have been deleted.
    ///
    /// # Errors
    ///
    /// [`DeadLetterError`]. The dead letter has not been deleted.
    pub async fn delete(&self, sequence: u64) -> Result<(), DeadLetterError> {
        let stream = self.stream().await?;
        let message = stream.get_raw_message(sequence).await.map_err(DeadLetterError::from_raw)?;
        // A body in another namespace's bucket is not deleted.
        let head = self.head_of(&message).ok();
        if let Some(object) = head.as_ref().and_then(|head| head.object.as_ref()) {
            self.delete_body(object).await?;
        }
        self.remove(&stream, sequence).await
    }

    async fn delete_body(&self, object: &ObjectRef) -> Result<(), DeadLetterError> {
        match self.tasks().bodies().await {
            Ok(bodies) => Ok(bodies.delete(object).await?),
            // There is no bucket, so there is no body.
            Err(DeclareError::Missing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn remove(&self, stream: &Stream<()>, sequence: u64) -> Result<(), DeadLetterError> {
        match stream.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                // Another program has removed it.
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

    /// Reads the head of a request that consumers would accept.
    fn head_of(&self, message: &StreamMessage) -> Result<RequestHead, DeadLetterError> {
        let frame = RequestFrame::decode(&message.payload, &Limits::default().stored())
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
