//! Request.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::StatusCode;
use futures::StreamExt;
use tokio::time::timeout;
use tonic::Status;

use crate::call::{MethodCall, Unary};
use crate::convert::{patience, publish_subject};
use crate::random::token;
use crate::status::{self, OrStatus};
use crate::{Method, pb};

/// How long to wait for the reply by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

impl Unary for pb::RequestRequest {
    const METHOD: Method = Method::Request;
    type Response = pb::RequestResponse;

    fn patience(&self) -> Duration {
        patience(self.timeout.as_ref(), REQUEST_TIMEOUT)
    }

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::RequestResponse, Status> {
        let wait = self.patience().min(call.time_to_wait());
        // An inbox in the tenant's own subjects, so that a subscriber can reply with a Publish.
        let inbox = format!("_INBOX.{}", token());
        let message = call.outgoing(call.subject(&self.subject)?, &inbox, &BTreeMap::new(), self.data)?;
        // It waits with a subscription of its own.
        let _counted = call.tally.subscribe(call.space.quotas.subscriptions)?;
        let mark = call.connection().mark()?;
        let client = call.connection().client();
        let mut replies = client.subscribe(publish_subject(call.tenant(), &inbox)?).await.or_status()?;
        call.send(message).await?;
        let error_message = match timeout(wait, replies.next()).await {
            Ok(Some(reply)) if reply.status == Some(StatusCode::NO_RESPONDERS) => "no responders",
            Ok(Some(reply)) => {
                call.sent(1, reply.payload.len());
                return Ok(pb::RequestResponse { success: true, data: reply.payload, ..Default::default() });
            }
            Ok(None) => return Err(status::disconnected()),
            Err(_) if call.connection().is_lost(mark) => return Err(status::lost()),
            Err(_) => "the request timed out",
        };
        Ok(pb::RequestResponse { error_message: error_message.to_owned(), ..Default::default() })
    }
}
