//! ObjectPut, ObjectGet, ObjectDelete, ObjectList, ObjectUpload and ObjectDownload.
//!
//! A bucket is a stream with the chunks of objects and a description of each, as NATS clients have it (ADR-20): other
//! clients can use the same buckets. Chunks are written and read in bounded memory, and removed if a put fails.

mod bucket;
mod list;
mod meta;
mod reader;
mod upload;
mod writer;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use narun_nats::jetstream::objects::{ObjectInfo, Written};
use prost::Message;
use tonic::{Code, Status};

use self::bucket::Bucket;
#[cfg(test)]
pub(crate) use self::bucket::names;
use self::meta::Current;
use self::reader::Reader;
pub(crate) use self::upload::upload;
use self::writer::Writer;
use crate::call::{MethodCall, OnLoss, Streaming, Unary, Weighed};
use crate::convert::saturating;
use crate::random::token;
use crate::{Method, pb};

/// The most bytes that encoding adds to the data of an object.
const DATA_OVERHEAD: usize = 11;

impl MethodCall<'_> {
    /// Makes the written chunks an object, in place of a previous one.
    async fn publish_object(
        &self,
        bucket: &Bucket,
        object: &str,
        metadata: BTreeMap<String, String>,
        mut writer: Writer,
    ) -> Result<pb::ObjectPutResponse, Status> {
        let mut info = writer.finish(object).await?;
        info.metadata = metadata.into_iter().collect();
        let object_id = info.nuid.clone();
        // If this is cancelled from here on, the chunks may belong to an object: keep them.
        writer.keep(true);
        let replaced = self.replace(bucket, object, |_| Some(info.clone())).await;
        let unknown = [Code::DeadlineExceeded, Code::Unavailable];
        writer.keep(replaced.as_ref().map_or_else(|status| unknown.contains(&status.code()), |_| true));
        replaced?;
        Ok(pb::ObjectPutResponse { success: true, object_id })
    }

    /// Starts to write chunks, in a bucket that is created if it does not exist.
    async fn write(&self, bucket: &Bucket) -> Result<Writer, Status> {
        if !self.has_bucket(&bucket.stream).await? {
            self.make_bucket(&bucket.config(&self.state.object_buckets)).await?;
        }
        Ok(Writer::new(self.connection().clone(), bucket.clone()))
    }
}

fn metadata(info: &ObjectInfo) -> BTreeMap<String, String> {
    info.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Unary for pb::ObjectPutRequest {
    const METHOD: Method = Method::ObjectPut;
    type Response = pb::ObjectPutResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::ObjectPutResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        bucket.meta(&self.object_name)?;
        let mut writer = call.write(&bucket).await?;
        let size = self.data.len();
        call.check_stored_bytes(size).await?;
        writer.write(self.data).await?;
        let response = call.publish_object(&bucket, &self.object_name, self.metadata, writer).await?;
        call.received(1, size);
        Ok(response)
    }
}

impl Unary for pb::ObjectGetRequest {
    const METHOD: Method = Method::ObjectGet;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::ObjectGetResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::ObjectGetResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let Some((bucket, info)) = call.object(bucket, &self.object_name).await? else {
            return Ok(pb::ObjectGetResponse::default());
        };
        let metadata = metadata(&info);
        let mut response = pb::ObjectGetResponse { found: true, metadata, ..Default::default() };
        let (size, limit) = (info.size, call.state.response_limit);
        if size.saturating_add(response.encoded_len() + DATA_OVERHEAD) > limit {
            let message =
                format!("an object of {size} bytes does not fit a response of {limit}; use ObjectDownload");
            return Err(Status::failed_precondition(message));
        }
        let mut reader = Reader::open(call.connection(), &bucket, &info).await?;
        // The size in the description only counts as far as chunks come.
        let mut data = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            data.extend_from_slice(&chunk);
        }
        call.sent(1, data.len());
        response.data = data.freeze();
        Ok(response)
    }
}

impl Streaming for pb::ObjectGetRequest {
    const METHOD: Method = Method::ObjectDownload;
    type Item = pb::ObjectChunk;
    type Items = futures::stream::BoxStream<'static, Result<pb::ObjectChunk, Status>>;

    async fn open(self, call: &MethodCall<'_>) -> Result<Self::Items, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let found = call.object(bucket, &self.object_name).await?;
        let (bucket, info) = found.ok_or_else(|| Status::not_found("no such object"))?;
        let reader = Reader::open(call.connection(), &bucket, &info).await?;
        let first = pb::ObjectChunk {
            object_name: self.object_name,
            size: saturating(info.size),
            metadata: metadata(&info),
            ..Default::default()
        };
        // Other clients may have written larger chunks than fit a response.
        let piece = call.state.response_limit.saturating_sub(DATA_OVERHEAD).max(1);
        let chunks = futures::stream::try_unfold(
            (reader, Bytes::new()),
            move |(mut reader, mut rest): (Reader, Bytes)| async move {
                if rest.is_empty() {
                    let Some(chunk) = reader.next().await? else { return Ok(None) };
                    rest = chunk;
                }
                let data = rest.split_to(rest.len().min(piece));
                Ok(Some((pb::ObjectChunk { data, ..Default::default() }, (reader, rest))))
            },
        );
        Ok(futures::stream::iter([Ok(first)]).chain(chunks).boxed())
    }
}

impl Weighed for pb::ObjectChunk {
    fn weight(&self) -> u64 {
        self.data.len() as u64
    }
}

impl Unary for pb::ObjectDeleteRequest {
    const METHOD: Method = Method::ObjectDelete;
    type Response = pb::ObjectDeleteResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::ObjectDeleteResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        if !call.has_bucket(&bucket.stream).await? {
            return Ok(pb::ObjectDeleteResponse { success: false });
        }
        let marker = |info: ObjectInfo| {
            let options = info.options.filter(|options| options.link.is_none());
            ObjectInfo { deleted: true, size: 0, chunks: 0, options, ..info }
        };
        let unreadable = || Written::default().info(bucket.name.clone(), self.object_name.clone(), token());
        let delete = |current: &Current| match current {
            Current::Nothing => None,
            Current::Object(info) => Some(marker(ObjectInfo::clone(info))),
            Current::Unreadable => Some(marker(unreadable())),
        };
        let success = call.replace(&bucket, &self.object_name, delete).await?.is_some();
        Ok(pb::ObjectDeleteResponse { success })
    }
}
