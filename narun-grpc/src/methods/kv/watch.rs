//! KVWatch.
//!
//! What is watched is pulled in order from a consumer of the watch's own, which acknowledges nothing. Should anything be
//! missing of what it delivers, or it itself, as after the server was away, another one is made that begins after the
//! last revision that was seen.

use async_nats::datetime::DateTime;
use async_nats::jetstream::stream;
use futures::stream::BoxStream;
use tonic::Status;

use super::bucket::Bucket;
use super::key::unescape_key;
use super::operation::operation;
use crate::call::live::{Live, Source};
use crate::call::{MethodCall, Streaming, Weighed};
use crate::convert::{date, saturating};
use crate::pull::ordered::{Ordered, Placed};
use crate::pull::pulls::{PullLimits, Pulled, insist};
use crate::{Connection, Method, pb};

/// Entries that are taken before they are sent, at most.
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
                return Err(Status::invalid_argument(
                    "include_history and updates_only are not for one watch",
                ));
            }
        };
        let live = Live::open(call)?;
        Ok(live.items(Watch::open(call, bucket, subject, start).await?))
    }
}

/// What comes before changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchStart {
    /// The last entry of each key.
    Last,
    /// All entries.
    History,
    Now,
}

/// What is done to keys, in order.
pub(super) struct Watch {
    connection: Connection,
    limits: PullLimits,
    bucket: Bucket,
    subject: String,
    start: WatchStart,
    /// When the bucket was made, which tells it from another one of its name.
    created: DateTime,
    /// The last revision that was seen.
    revision: u64,
    /// How many entries of those that were there are still to come; none once it was said that all have come.
    missing: Option<u64>,
    /// Its consumer at present.
    ordered: Ordered,
}

impl Watch {
    /// Begins to watch the keys of a subject; NOT_FOUND if there is no such bucket.
    pub(super) async fn open(
        call: &MethodCall<'_>,
        bucket: Bucket,
        subject: String,
        start: WatchStart,
    ) -> Result<Self, Status> {
        let (connection, limits) = (call.connection().clone(), PullLimits::of(call.state, AHEAD));
        let info = bucket_info(&connection, &bucket).await?;
        let revision = if start == WatchStart::Now { info.state.last_sequence } else { 0 };
        let from = if start == WatchStart::Last { None } else { Some(revision + 1) };
        let (ordered, there) = Ordered::make(&connection, limits, &bucket.stream, &subject, from).await?;
        let missing = Some(if start == WatchStart::Now { 0 } else { there });
        Ok(Self {
            connection,
            limits,
            bucket,
            subject,
            start,
            created: info.created,
            revision,
            missing,
            ordered,
        })
    }

    /// Goes on after the last revision; fails if the bucket is there no more.
    async fn resume(&mut self) -> Result<(), Status> {
        let (ordered, there) = insist(|| self.make_again()).await?;
        self.ordered = ordered;
        self.missing = self.missing.map(|_| there);
        Ok(())
    }

    async fn make_again(&self) -> Result<(Ordered, u64), Status> {
        if bucket_info(&self.connection, &self.bucket).await?.created != self.created {
            return Err(Status::not_found("the bucket was deleted"));
        }
        // The last of each key, until all were told: of them, those are left out that were.
        let is_last = self.start == WatchStart::Last && self.missing.is_some();
        let from = if is_last { None } else { Some(self.revision + 1) };
        Ordered::make(&self.connection, self.limits, &self.bucket.stream, &self.subject, from).await
    }

    /// Whether what was there has all come, which is said once.
    fn is_up_to_date(&mut self) -> bool {
        let is_it = self.missing == Some(0);
        if is_it {
            self.missing = None;
        }
        is_it
    }

    /// An entry, if it is one; fails if there should have been another before it.
    fn take(&mut self, message: async_nats::Message) -> Result<Option<pb::KvEntry>, Gap> {
        let Placed { sequence: revision, pending, published, message } =
            self.ordered.take(message).ok_or(Gap)?;
        let missing = |missing: u64| if pending == 0 { 0 } else { missing.saturating_sub(1) };
        self.missing = self.missing.map(missing);
        if revision <= self.revision {
            return Ok(None);
        }
        self.revision = revision;
        let prefix = format!("$KV.{}.", self.bucket.name);
        // Those that somebody else in the account has put under a name that this would write otherwise are not told.
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

/// Something that is missing.
struct Gap;

impl Source for Watch {
    type Item = pb::KvEntry;

    async fn next(&mut self) -> Result<pb::KvEntry, Status> {
        loop {
            if self.is_up_to_date() {
                return Ok(pb::KvEntry { up_to_date: true, ..Default::default() });
            }
            // What was there already is asked for without waiting, so that its end is told.
            self.ordered.pulls.wait = self.missing.is_none();
            match self.ordered.pulls.next().await? {
                Pulled::Message(message) => match self.take(message) {
                    Ok(Some(entry)) => return Ok(entry),
                    Ok(None) => {}
                    Err(Gap) => self.resume().await?,
                },
                // Some of what was there may have gone meanwhile.
                Pulled::Nothing => self.missing = self.missing.map(|_| 0),
                Pulled::Lost => self.resume().await?,
            }
        }
    }
}

async fn bucket_info(connection: &Connection, bucket: &Bucket) -> Result<stream::Info, Status> {
    let info = connection.stream_info(&bucket.stream).await;
    info.map_err(|status| match status.code() {
        tonic::Code::NotFound => Status::not_found("no such bucket"),
        _ => status,
    })
}
