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

/// How long Request waits if it does not say.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

impl Unary for pb::RequestRequest {
    const METHOD: Method = Method::Request;
    type Response = pb::RequestResponse;

    fn patience(&self) -> Duration {
        patience(self.timeout.as_ref(), REQUEST_TIMEOUT)
    }

    async fn run(self, call: &MethodCall<'_>) -> Result<pb::RequestResponse, Status> {
        let wait = self.patience().min(call.time_to_wait());
        // Within the tenant's own subjects, so that a subscriber can answer with a Publish.
        let inbox = format!("_INBOX.{}", token());
        let message = call.outgoing(call.subject(&self.subject)?, &inbox, &BTreeMap::new(), self.data)?;
        call.connection().mark()?;
        let client = call.connection().client();
        let mut answers = client.subscribe(publish_subject(call.tenant(), &inbox)?).await.or_status()?;
        call.send(message).await?;
        let error_message = match timeout(wait, answers.next()).await {
            Ok(Some(answer)) if answer.status == Some(StatusCode::NO_RESPONDERS) => "nobody listens",
            Ok(Some(answer)) => {
                call.sent(1, answer.payload.len());
                return Ok(pb::RequestResponse { success: true, data: answer.payload, ..Default::default() });
            }
            Ok(None) => return Err(status::disconnected()),
            Err(_) => "no answer in time",
        };
        Ok(pb::RequestResponse { error_message: error_message.to_owned(), ..Default::default() })
    }
}
