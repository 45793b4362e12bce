use std::pin::pin;
use std::sync::Arc;

use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::bucket::Bucket;
use crate::call::enter::next_of;
use crate::convert::saturating;
use crate::state::ServiceState;
use crate::{Method, pb};

/// ObjectUpload, the one method with a request stream. It has no time limit while chunks keep coming.
pub(crate) async fn upload(
    state: &Arc<ServiceState>,
    request: Request<Streaming<pb::ObjectChunk>>,
) -> Result<Response<pb::ObjectPutResponse>, Status> {
    state
        .client_streaming(Method::ObjectUpload, request, async |call, mut first, mut chunks| {
            let bucket = Bucket::new(call.tenant(), &first.bucket)?;
            bucket.meta(&first.object_name)?;
            let mut writer = call.connection().unless_lost(pin!(call.write(&bucket))).await?;
            let (mut data, mut uploaded) = (std::mem::take(&mut first.data), 0_i64);
            loop {
                let size = data.len();
                uploaded = uploaded.saturating_add(saturating(size));
                call.check_stored_bytes(size).await?;
                writer.write(data).await?;
                call.received(1, size);
                data = match timeout(state.timeout, next_of(&mut chunks)).await {
                    Ok(Ok(Some(chunk))) => chunk.data,
                    Ok(Ok(None)) => break,
                    Ok(Err(status)) => return Err(status),
                    Err(_) => return Err(Status::deadline_exceeded("no chunk came in time")),
                };
            }
            if ![0, uploaded].contains(&first.size) {
                return Err(Status::invalid_argument("the chunks do not add up to size"));
            }
            let published = call.publish_object(&bucket, &first.object_name, first.metadata, writer);
            call.connection().unless_lost(pin!(published)).await
        })
        .await
}
