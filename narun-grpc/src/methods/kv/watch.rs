//! KVWatch.
//!
//! Entries are pulled in order from a consumer of the watch's own, without acknowledgements. If a message or the consumer
//! is missing, as after a server restart, another consumer is created, which starts after the last revision seen.
//!
//! Revisions can go back: a bucket in memory is lost with its server, and a store may be put back to an earlier copy. Then
//! other entries get the revisions that were seen, and the watch ends with ABORTED. It finds out by the last revision of
//! the bucket, and by the time of the entry at the last revision seen. If that entry is not there, all entries are read
//! again: none up to this revision may be newer than it.

use async_nats::datetime::DateTime;
use async_nats::jetstream::stream;
use futures::stream::BoxStream;
use tonic::{Code, Status};

use super::bucket::Bucket;
use super::key::unescape_key;
use super::operation::operation;
use crate::call::live::{Source, SubscriptionPermit};
use crate::call::{MethodCall, Streaming, Weighed};
use crate::convert::{date, saturating};
use crate::pull::ordered::{OrderedConsumer, OrderedMessage};
use crate::pull::pulls::{PullLimits, Pulled, retry_later};
use crate::{Connection, Method, pb};

/// How often the bucket is looked up, with a pause between, before it counts as gone back: a server that has just become the
/// leader may not know the last entries yet.
const LOOKS: usize = 4;

/// Entries that are pulled ahead of the client, at most.
const AHEAD: usize = 256;

impl Weighed for pb::KvEntry {
    fn weight(&self) -> u64 {
        self.value.len() as u64
    }
}

impl Streaming for pb::KvWatchRequest {
    const METHOD: Method = Method::KVWatch;
    type Item = pb::KvEntry;
    type Items = BoxStream<'static, Result<pb::KvEntry, Status>>;

    async fn open(self, call: &MethodCall<'_>) -> Result<Self::Items, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let subject = match self.key.as_str() {
            "" => format!("$KV.{}.>", bucket.name),
            key => bucket.subject(key)?,
        };
        let start = match (self.include_history, self.updates_only) {
            (false, false) => WatchStart::Last,
            (true, false) => WatchStart::History,
            (false, true) => WatchStart::Now,
            (true, true) => {
                return Err(Status::invalid_argument("include_history and updates_only exclude each other"));
            }
        };
        let permit = SubscriptionPermit::open(call)?;
        Ok(permit.items(Watch::open(call, bucket, subject, start).await?))
    }
}

/// The entries before the first change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchStart {
    /// The last entry of each key.
    Last,
    /// All entries.
    History,
    /// No entries.
    Now,
}

/// The entries of one or all keys, in order.
pub(super) struct Watch {
    connection: Connection,
    limits: PullLimits,
    bucket: Bucket,
    subject: String,
    start: WatchStart,
    /// When the bucket was created, which distinguishes it from a later bucket of its name.
    created: DateTime,
    /// The last revision seen, and when it was stored.
    revision: u64,
    stored: DateTime,
    /// The latest time of an entry seen: a revision can have an earlier time than the one before it, if the clock of another
    /// leader is behind.
    newest: DateTime,
    /// How many of the initial entries are still to come. `None` once the client was notified that it is up to date.
    missing: Option<u64>,
    /// The current consumer.
    ordered: OrderedConsumer,
}

impl Watch {
    /// Starts to watch the keys of a subject. NOT_FOUND if the bucket does not exist.
    pub(super) async fn open(
        call: &MethodCall<'_>,
        bucket: Bucket,
        subject: String,
        start: WatchStart,
    ) -> Result<Self, Status> {
        let connection = call.connection().clone();
        let limits = PullLimits::of(call.state, &connection, AHEAD);
        let info = bucket_info(&connection, &bucket).await?;
        let revision = if start == WatchStart::Now { info.state.last_sequence } else { 0 };
        let from = if start == WatchStart::Last { None } else { Some(revision + 1) };
        let (ordered, there) =
            OrderedConsumer::create(&connection, limits, &bucket.stream, &subject, from).await?;
        let missing = Some(if start == WatchStart::Now { 0 } else { there });
        Ok(Self {
            connection,
            limits,
            bucket,
            subject,
            start,
            created: info.created,
            revision,
            stored: info.state.last_timestamp,
            newest: info.state.last_timestamp,
            missing,
            ordered,
        })
    }

    /// Resumes after the last revision. NOT_FOUND if the bucket was deleted, ABORTED if its revisions went back.
    async fn resume(&mut self) -> Result<(), Status> {
        let mut looks = 0;
        let (ordered, there) = loop {
            looks += 1;
            match retry_later(|| self.make_again()).await {
                Err(status) if status.code() == Code::Aborted && looks < LOOKS => {}
                made => break made?,
            }
        };
        self.ordered = ordered;
        self.missing = self.missing.map(|_| there);
        Ok(())
    }

    async fn make_again(&self) -> Result<(OrderedConsumer, u64), Status> {
        let info = bucket_info(&self.connection, &self.bucket).await?;
        if info.created != self.created {
            return Err(Status::not_found("the bucket was deleted"));
        }
        if info.state.last_sequence < self.revision {
            return Err(went_back());
        }
        // Until the initial entries are complete, they are read again; those already sent are skipped.
        let is_last = self.start == WatchStart::Last && self.missing.is_some();
        let from = if is_last { None } else { Some(self.seen().await? + 1) };
        OrderedConsumer::create(&self.connection, self.limits, &self.bucket.stream, &self.subject, from).await
    }

    /// The revision up to which nothing needs to be read again: the last one seen, or 0 if its entry is not there any more.
    async fn seen(&self) -> Result<u64, Status> {
        if self.revision == 0 {
            return Ok(0);
        }
        match self.connection.stored_at(&self.bucket.stream, self.revision).await? {
            Some(stored) if stored != self.stored => Err(went_back()),
            Some(_) => Ok(self.revision),
            None => Ok(0),
        }
    }

    /// Whether the initial entries are complete. Returns `true` once.
    fn becomes_up_to_date(&mut self) -> bool {
        let complete = self.missing == Some(0);
        if complete {
            self.missing = None;
        }
        complete
    }

    /// Converts a message to an entry. Returns `None` for a message to skip.
    fn take(&mut self, message: OrderedMessage) -> Result<Option<pb::KvEntry>, Status> {
        let OrderedMessage { sequence: revision, pending, published, message } = message;
        let missing = |missing: u64| if pending == 0 { 0 } else { missing.saturating_sub(1) };
        self.missing = self.missing.map(missing);
        if revision <= self.revision {
            return if published > self.newest { Err(went_back()) } else { Ok(None) };
        }
        (self.revision, self.stored) = (revision, published);
        self.newest = self.newest.max(published);
        let prefix = format!("$KV.{}.", self.bucket.name);
        // A name that is no escaped key was put by another client of the account: skipped.
        let key = message.subject.strip_prefix(&prefix).and_then(unescape_key);
        let operation = message.headers.as_ref().map_or(pb::KvOperation::OperationPut, operation);
        Ok(key.map(|key| pb::KvEntry {
            key,
            revision: saturating(revision),
            created: date(published),
            operation: operation.into(),
            value: message.payload,
            up_to_date: false,
        }))
    }
}

fn went_back() -> Status {
    Status::aborted("the bucket lost its last changes; watch it again")
}

impl Source for Watch {
    type Item = pb::KvEntry;

    async fn next(&mut self) -> Result<pb::KvEntry, Status> {
        loop {
            if self.becomes_up_to_date() {
                return Ok(pb::KvEntry { up_to_date: true, ..Default::default() });
            }
            // Initial entries are pulled without waiting, so that the server reports their end.
            self.ordered.pulls.wait = self.missing.is_none();
            match self.ordered.pulls.next().await? {
                Pulled::Message(message) => match self.ordered.take(message) {
                    Some(message) => {
                        if let Some(entry) = self.take(message)? {
                            return Ok(entry);
                        }
                    }
                    // A message is missing before it.
                    None => self.resume().await?,
                },
                // Some of the initial entries may have been removed meanwhile.
                Pulled::Nothing => self.missing = self.missing.map(|_| 0),
                Pulled::Lost => self.resume().await?,
            }
        }
    }
}

async fn bucket_info(connection: &Connection, bucket: &Bucket) -> Result<stream::Info, Status> {
    let info = connection.stream_info(&bucket.stream).await;
    info.map_err(|status| match status.code() {
        Code::NotFound => Status::not_found("no such bucket"),
        _ => status,
    })
}
