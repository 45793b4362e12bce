use std::sync::Arc;

use tokio::time::timeout;
use tonic::{Code, Request, Response, Status, Streaming};

use super::Bucket;
use crate::service::Shared;
use crate::{Method, pb, status};

/// ObjectUpload, the one method whose request is a stream.
///
/// It may take as long as it likes, if pieces keep coming.
pub(crate) async fn upload(
    shared: &Arc<Shared>,
    request: Request<Streaming<pb::ObjectChunk>>,
) -> Result<Response<pb::ObjectPutResponse>, Status> {
    let (metadata, extensions, mut chunks) = request.into_parts();
    // Before the first one it is nobody's call.
    let first = match timeout(shared.timeout, chunks.message()).await {
        Ok(first) => first?.ok_or_else(|| Status::invalid_argument("no first chunk"))?,
        Err(_) => return Err(status::late()),
    };
    shared
        .client_streaming(Method::ObjectUpload, &metadata, &extensions, first, async |call, mut first| {
            let bucket = Bucket::new(call.tenant(), &first.bucket)?;
            bucket.meta(&first.object_name)?;
            let mut writer = call.write(&bucket).await?;
            let mut data = std::mem::take(&mut first.data);
            loop {
                let size = data.len();
                call.room_for(size).await?;
                writer.write(data).await?;
                call.received(1, size);
                data = match timeout(shared.timeout, chunks.message()).await {
                    Ok(Ok(Some(chunk))) => chunk.data,
                    Ok(Ok(None)) => break,
                    // The client has left, or has broken it off.
                    Ok(Err(status)) if status.code() == Code::Unknown => {
                        return Err(Status::cancelled("the upload broke off"));
                    }
                    Ok(Err(status)) => return Err(status),
                    Err(_) => return Err(Status::deadline_exceeded("no piece came in time")),
                };
            }
            call.publish_object(&bucket, &first.object_name, first.metadata, writer).await
        })
        .await
}
