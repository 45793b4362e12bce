//! KVHistory.

use tonic::Status;

use super::bucket::Bucket;
use super::watch::{Watch, WatchStart};
use crate::call::live::Source;
use crate::call::{MethodCall, OnLoss, Unary};
use crate::status::if_found;
use crate::{Method, pb};

impl Unary for pb::KvHistoryRequest {
    const METHOD: Method = Method::KVHistory;
    const ON_LOSS: OnLoss = OnLoss::Repeat;
    type Response = pb::KvHistoryResponse;

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::KvHistoryResponse, Status> {
        let bucket = Bucket::new(call.tenant(), &self.bucket)?;
        let subject = bucket.subject(&self.key)?;
        let (mut entries, mut room) = (Vec::new(), call.state.response_limit);
        let watch = Watch::open(call, bucket, subject, WatchStart::History).await;
        let Some(mut watch) = if_found(watch)? else { return Ok(pb::KvHistoryResponse { entries }) };
        loop {
            let entry = watch.next().await?;
            if entry.up_to_date {
                return Ok(pb::KvHistoryResponse { entries });
            }
            let full = || Status::resource_exhausted("more entries of the key than fit a response");
            room = room.checked_sub(prost::Message::encoded_len(&entry) + 8).ok_or_else(full)?;
            call.sent(1, entry.value.len());
            entries.push(entry);
        }
    }
}
