//! ObjectPut, ObjectGet, ObjectDelete, ObjectList, ObjectUpload and ObjectDownload.
//!
//! A bucket is a stream, of an object's pieces and of what is known of it: just as other NATS clients have it. Pieces
//! are written and read here with a bound on what is in memory, and removed when an object does not come to be.

mod meta;
mod reader;
mod upload;
mod writer;

use std::collections::BTreeMap;

use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use bytes::BytesMut;
use data_encoding::BASE64URL;
use futures::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tonic::{Code, Status};

use self::reader::Reader;
pub(crate) use self::upload::upload;
use self::writer::Writer;
use crate::call::{Call, Streaming, Unary, Weighed};
use crate::convert::{date, saturating};
use crate::status;
use crate::tenant::Tenant;
use crate::{BucketSettings, Method, pb};

/// A bucket's NATS names.
#[derive(Clone)]
struct Bucket {
    name: String,
    stream: String,
}

impl Bucket {
    fn new(tenant: &Tenant, bucket: &str) -> Result<Self, Status> {
        let name = tenant.object_bucket(bucket).map_err(|error| status::tenant(&error))?;
        Ok(Self { stream: format!("OBJ_{name}"), name })
    }

    /// The subject of what is known of an object.
    fn meta(&self, object: &str) -> Result<String, Status> {
        if object.is_empty() {
            return Err(Status::invalid_argument("an object name is empty"));
        }
        let subject = format!("$O.{}.M.{}", self.name, BASE64URL.encode(object.as_bytes()));
        match subject.len() {
            ..=Tenant::LONGEST_SUBJECT => Ok(subject),
            _ => Err(Status::invalid_argument("an object name is too long")),
        }
    }

    /// The subject of the pieces of an object's version.
    fn chunks(&self, id: &str) -> String {
        format!("$O.{}.C.{id}", self.name)
    }

    /// The request to JetStream's API, with its subject there, that removes these pieces.
    fn purge(&self, id: &str) -> (String, Value) {
        (format!("STREAM.PURGE.{}", self.stream), json!({ "filter": self.chunks(id) }))
    }

    fn config(&self, settings: &BucketSettings) -> Config {
        settings.apply(Config {
            name: self.stream.clone(),
            subjects: vec![format!("$O.{}.C.>", self.name), format!("$O.{}.M.>", self.name)],
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            allow_direct: true,
            ..Default::default()
        })
    }
}

/// The stream of a bucket, and the subjects of what is known of an object and of its pieces.
#[cfg(test)]
pub(crate) fn names(tenant: &Tenant, bucket: &str, object: &str) -> Result<(String, String, String), Status> {
    let bucket = Bucket::new(tenant, bucket)?;
    let (meta, chunks) = (bucket.meta(object)?, bucket.chunks("id"));
    Ok((bucket.stream, meta, chunks))
}

impl Call<'_> {
    /// Makes an object of what was written, in the place of the one before, if there is one.
    async fn publish_object(
        &self,
        bucket: &Bucket,
        object: &str,
        metadata: BTreeMap<String, String>,
        mut writer: Writer,
    ) -> Result<pb::ObjectPutResponse, Status> {
        let mut info = writer.finish().await?;
        object.clone_into(&mut info.name);
        info.metadata = metadata.into_iter().collect();
        let object_id = info.nuid.clone();
        // From here on nobody knows, should it break off, whether they are an object's.
        writer.keep(true);
        let replaced = self.replace(bucket, object, |_| Some(info.clone())).await;
        let unknown = [Code::DeadlineExceeded, Code::Unavailable];
        writer.keep(replaced.as_ref().map_or_else(|status| unknown.contains(&status.code()), |_| true));
        replaced?;
        Ok(pb::ObjectPutResponse { success: true, object_id })
    }

    /// A new object's pieces, in a bucket that is made if need be.
    async fn write(&self, bucket: &Bucket) -> Result<Writer, Status> {
        if !self.has_bucket(&bucket.stream).await? {
            self.make_bucket(&bucket.config(&self.shared.object_buckets)).await?;
        }
        Ok(Writer::new(self.connection().clone(), bucket.clone()))
    }
}

/// A digest as all NATS clients write it.
fn digest_text(digest: Sha256) -> String {
    format!("SHA-256={}", BASE64URL.encode(&digest.finalize()))
}

fn damaged() -> Status {
    Status::data_loss("the object is damaged")
}

fn metadata(info: &ObjectInfo) -> BTreeMap<String, String> {
    info.metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl Unary for pb::ObjectPutRequest {
    const METHOD: Method = Method::ObjectPut;
    type Response = pb::ObjectPutResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::ObjectPutResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        bucket.meta(&self.object_name)?;
        let mut writer = call.write(&bucket).await?;
        let size = self.data.len();
        call.room_for(size).await?;
        writer.write(self.data).await?;
        let response = call.publish_object(&bucket, &self.object_name, self.metadata, writer).await?;
        call.received(1, size);
        Ok(response)
    }
}

impl Unary for pb::ObjectGetRequest {
    const METHOD: Method = Method::ObjectGet;
    type Response = pb::ObjectGetResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::ObjectGetResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let Some(info) = call.object(&bucket, &self.object_name).await? else {
            return Ok(pb::ObjectGetResponse::default());
        };
        if info.size > call.shared.message_limit {
            let limit = call.shared.message_limit;
            let message =
                format!("an object of {} bytes is over the limit of {limit}; download it", info.size);
            return Err(Status::resource_exhausted(message));
        }
        let metadata = metadata(&info);
        let mut reader = Reader::open(call.connection(), &bucket, &info).await?;
        // What is said of the size is believed as far as there are bytes.
        let mut data = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            data.extend_from_slice(&chunk);
        }
        call.sent(1, data.len());
        Ok(pb::ObjectGetResponse { found: true, data: data.freeze(), metadata })
    }
}

impl Streaming for pb::ObjectGetRequest {
    const METHOD: Method = Method::ObjectDownload;
    type Item = pb::ObjectChunk;
    type Items = futures::stream::BoxStream<'static, Result<pb::ObjectChunk, Status>>;

    async fn open(self, call: &Call<'_>) -> Result<Self::Items, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let info = call.object(&bucket, &self.object_name).await?;
        let info = info.ok_or_else(|| Status::not_found("no such object"))?;
        let reader = Reader::open(call.connection(), &bucket, &info).await?;
        let first = pb::ObjectChunk {
            object_name: self.object_name,
            size: saturating(info.size),
            metadata: metadata(&info),
            ..Default::default()
        };
        let chunks = futures::stream::try_unfold(reader, async |mut reader| {
            let chunk = reader.next().await?;
            Ok(chunk.map(|data| (pb::ObjectChunk { data, ..Default::default() }, reader)))
        });
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

    async fn run(self, call: &Call<'_>) -> Result<pb::ObjectDeleteResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        if !call.has_bucket(&bucket.stream).await? {
            return Ok(pb::ObjectDeleteResponse { success: false });
        }
        let delete = |object: Option<&ObjectInfo>| {
            Some(ObjectInfo { deleted: true, size: 0, chunks: 0, ..object?.clone() })
        };
        let success = call.replace(&bucket, &self.object_name, delete).await?.is_some();
        Ok(pb::ObjectDeleteResponse { success })
    }
}

impl Unary for pb::ObjectListRequest {
    const METHOD: Method = Method::ObjectList;
    type Response = pb::ObjectListResponse;

    async fn run(self, call: &Call<'_>) -> Result<pb::ObjectListResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        if !call.has_bucket_now(&bucket.stream).await? {
            return Ok(pb::ObjectListResponse::default());
        }
        let failed = |error: &(dyn std::error::Error + 'static)| {
            status::from_source(error, "the objects could not be listed")
        };
        let store = call.connection().jetstream()?.get_object_store(&bucket.name).await;
        let store = store.map_err(|error| failed(&error))?;
        let mut infos = store.list().await.map_err(|error| failed(&error))?;
        let (mut objects, mut room) = (Vec::new(), call.shared.message_limit);
        while let Some(info) = infos.next().await {
            let info = info.map_err(|error| failed(&error))?;
            let object = pb::ObjectInfo {
                metadata: metadata(&info),
                size: saturating(info.size),
                modified: info.modified.and_then(date),
                name: info.name,
            };
            let full = || Status::resource_exhausted("more objects than an answer can have");
            room = room.checked_sub(prost::Message::encoded_len(&object) + 8).ok_or_else(full)?;
            objects.push(object);
        }
        objects.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pb::ObjectListResponse { objects })
    }
}
