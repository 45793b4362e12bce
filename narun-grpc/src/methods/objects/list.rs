//! ObjectList.

use std::collections::BTreeMap;

use narun_nats::jetstream::objects::ObjectInfo;
use tonic::Status;

use super::bucket::Bucket;
use super::metadata;
use crate::call::{MethodCall, OnLoss, Unary};
use crate::convert::{date, saturating};
use crate::pull::ordered::{OrderedConsumer, OrderedMessage};
use crate::pull::pulls::{PullLimits, Pulled, retry_later};
use crate::{Method, pb, status};

/// Descriptions that are pulled ahead, at most.
const AHEAD: usize = 256;

/// How often reading starts again after the consumer or the connection was lost.
const ATTEMPTS: usize = 8;

impl Unary for pb::ObjectListRequest {
    const METHOD: Method = Method::ObjectList;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::ObjectListResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::ObjectListResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        if !call.has_bucket_now(&bucket.stream).await? {
            return Ok(pb::ObjectListResponse::default());
        }
        for _ in 0..ATTEMPTS {
            if let Some(objects) = list(call, &bucket).await? {
                return Ok(pb::ObjectListResponse { objects: objects.into_values().collect() });
            }
        }
        Err(status::disconnected())
    }
}

/// Reads the last description of each object. Returns `None` if the consumer was lost before the end.
async fn list(
    call: &MethodCall<'_>,
    bucket: &Bucket,
) -> Result<Option<BTreeMap<String, pb::ObjectInfo>>, Status> {
    let (limits, subject) =
        (PullLimits::of(call.state, call.connection(), AHEAD), format!("$O.{}.M.>", bucket.name));
    let create = || OrderedConsumer::create(call.connection(), limits, &bucket.stream, &subject, None);
    let (mut ordered, mut missing) = retry_later(create).await?;
    ordered.pulls.wait = false;
    let (mut objects, mut room) = (BTreeMap::new(), call.state.response_limit);
    while missing > 0 {
        let message = match ordered.pulls.next().await? {
            Pulled::Message(message) => message,
            // Some of them may have been removed meanwhile.
            Pulled::Nothing => break,
            Pulled::Lost => return Ok(None),
        };
        let Some(OrderedMessage { pending, published, message, .. }) = ordered.take(message) else {
            return Ok(None);
        };
        missing = pending;
        // What another client has written and cannot be read is no object.
        let Ok(info) = serde_json::from_slice::<ObjectInfo>(&message.payload) else { continue };
        if info.deleted {
            objects.remove(&info.name);
            continue;
        }
        let object = pb::ObjectInfo {
            metadata: metadata(&info),
            size: saturating(info.size),
            modified: date(published),
            link: info.link().is_some(),
            name: info.name,
        };
        let full = || Status::resource_exhausted("more objects than fit a response");
        room = room.checked_sub(prost::Message::encoded_len(&object) + 8).ok_or_else(full)?;
        objects.insert(object.name.clone(), object);
    }
    Ok(Some(objects))
}
