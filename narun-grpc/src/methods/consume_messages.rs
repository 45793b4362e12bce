//! ConsumeMessages.

use std::sync::Arc;

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::{Context, Message};
use futures::stream::BoxStream;
use tonic::Status;

use crate::call::consumers::consumer_name;
use crate::call::live::{Source, SubscriptionPermit};
use crate::call::{MethodCall, Streaming, Weighed};
use crate::pull::places::Places;
use crate::pull::pulls::{PullLimits, Pulled, Pulls, retry_later};
use crate::state::ServiceState;
use crate::tenant::Tenant;
use crate::{Connection, Method, pb};

/// Messages that the client has not acknowledged: the default, and the limit.
const IN_FLIGHT: usize = 100;
const MOST_IN_FLIGHT: usize = 1000;

impl Weighed for pb::JetStreamMessage {
    fn weight(&self) -> u64 {
        self.data.len() as u64
    }
}

impl Streaming for pb::ConsumeMessagesRequest {
    const METHOD: Method = Method::ConsumeMessages;
    type Item = pb::JetStreamMessage;
    type Items = BoxStream<'static, Result<pb::JetStreamMessage, Status>>;

    async fn open(self, call: &MethodCall<'_>) -> Result<Self::Items, Status> {
        let messages = match usize::try_from(self.max_in_flight) {
            Ok(0) | Err(_) => IN_FLIGHT,
            Ok(asked) => asked.min(MOST_IN_FLIGHT),
        };
        consumer_name(&self.consumer_name)?;
        call.stream_name(&self.stream_name)?;
        let permit = SubscriptionPermit::open(call)?;
        let stream = call.owned_stream(&self.stream_name).await?;
        let connection = call.connection().clone();
        let limits = PullLimits::of(call.state, &connection, messages);
        let consumer = Consumer { connection, limits, stream, name: self.consumer_name };
        let (pulls, info) = consumer.pull().await?;
        let places = Places::new(&consumer.connection, &consumer.stream, &info, messages);
        let jetstream = call.connection().jetstream()?.clone();
        let (state, tenant) = (call.state.clone(), call.tenant().clone());
        Ok(permit.items(Consuming { pulls, places, consumer, jetstream, state, tenant }))
    }
}

/// A consumer of the tenant.
struct Consumer {
    connection: Connection,
    limits: PullLimits,
    stream: String,
    name: String,
}

impl Consumer {
    /// Looks the consumer up and starts to pull.
    async fn pull(&self) -> Result<(Pulls, Info), Status> {
        let info = self.connection.consumer_info(&self.stream, &self.name).await?;
        if info.config.deliver_subject.is_some() {
            return Err(Status::failed_precondition("the consumer is not a pull consumer"));
        }
        let mut pulls = Pulls::open(&self.connection, self.limits, &self.stream, &self.name).await?;
        pulls.redelivered_after(info.config.ack_wait);
        Ok((pulls, info))
    }
}

/// The messages of a consumer, for a client.
struct Consuming {
    /// Dropping it gives back what was pulled.
    pulls: Pulls,
    /// `None` if the consumer has no acknowledgements.
    places: Option<Places>,
    consumer: Consumer,
    jetstream: Context,
    state: Arc<ServiceState>,
    tenant: Tenant,
}

impl Source for Consuming {
    type Item = pb::JetStreamMessage;

    async fn next(&mut self) -> Result<pb::JetStreamMessage, Status> {
        loop {
            if self.pulls.is_over()
                && let Some(places) = &self.places
            {
                self.pulls.allow(places.free().await?);
            }
            match self.pulls.next().await? {
                Pulled::Message(message) => {
                    let reply = message.reply.clone();
                    let message = Message { message, context: self.jetstream.clone() };
                    let Consumer { stream, name, .. } = &self.consumer;
                    let message = self.state.delivered(&self.tenant, stream, name, message);
                    let Some(message) = message else { continue };
                    if let (Some(places), Some(reply)) = (&self.places, reply) {
                        places.add(message.sequence.unsigned_abs(), reply, self.pulls.arrived()).await?;
                    }
                    return Ok(message);
                }
                Pulled::Nothing => {}
                Pulled::Lost => (self.pulls, _) = retry_later(|| self.consumer.pull()).await?,
            }
        }
    }
}
