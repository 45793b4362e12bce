//! The operations through NATS over gRPC, and calls of the echo.

use std::net::SocketAddr;
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use http::uri::PathAndQuery;
use narun_grpc::pb;
use narun_grpc::pb::nats_service_client::NatsServiceClient;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use super::nats_grpc::ECHO;
use super::operation::{
    BATCH, BUCKET, CONSUMER, KEYS, Operation, STREAM, SUBSCRIBERS, USER, fill, next_key, unique,
};
use crate::Error;
use crate::round::{Connect, Order, RoundTrip, RoundTripError};

/// Connects for an operation; all connections share one HTTP/2 connection.
#[derive(Clone)]
pub(super) struct Connector {
    grpc: NatsServiceClient<Channel>,
    nats: Client,
    operation: Operation,
    body: Bytes,
}

/// Runs an operation, with the subscribers of a subject of its own.
pub(super) struct Runner {
    connector: Connector,
    subject: String,
    subscribers: Vec<Streaming<pb::MessageResponse>>,
}

/// Connects to a server.
pub(crate) async fn channel(to: SocketAddr) -> Result<Channel, Error> {
    Ok(Endpoint::from_shared(format!("http://{to}"))?.tcp_nodelay(true).connect().await?)
}

/// A request of the user with these fields.
macro_rules! request {
    ($request:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        pb::$request { user_id: USER.to_owned(), $($field $(: $value)?,)* ..Default::default() }
    };
}

impl Connector {
    pub(super) async fn new(
        to: SocketAddr,
        nats: &str,
        operation: Operation,
        length: usize,
    ) -> Result<Self, Error> {
        let mut grpc = NatsServiceClient::new(channel(to).await?);
        let body = Bytes::from(vec![b'x'; length]);
        match operation {
            Operation::Publish | Operation::PublishBatch | Operation::FanOut => {}
            Operation::PullAndAck => {
                let subjects = vec![format!("{STREAM}.>")];
                let config = pb::StreamConfig { name: STREAM.to_owned(), subjects, ..Default::default() };
                grpc.create_stream(request!(CreateStreamRequest { config: Some(config) })).await?;
                let config = pb::ConsumerConfig { durable_name: CONSUMER.to_owned(), ..Default::default() };
                let (stream_name, config) = (STREAM.to_owned(), Some(config));
                grpc.create_consumer(request!(CreateConsumerRequest { stream_name, config })).await?;
            }
            Operation::KvPut | Operation::KvGet => {
                for number in 0..KEYS {
                    let (bucket, key, value) = (BUCKET.to_owned(), format!("key-{number}"), body.clone());
                    grpc.kv_put(request!(KvPutRequest { bucket, key, value })).await?;
                }
            }
        }
        Ok(Self { grpc, nats: async_nats::connect(nats).await?, operation, body })
    }
}

impl Connect for Connector {
    type Connection = Runner;

    async fn prepare(&self, order: &Order) -> Result<(), Error> {
        if self.operation == Operation::PullAndAck {
            let (stream, subject) = (format!("user-{USER}-{STREAM}"), format!("user.{USER}.{STREAM}.new"));
            fill(&self.nats, &stream, &subject, &self.body, order).await?;
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Runner, Error> {
        let mut connector = self.clone();
        let subject = unique("grpc");
        let mut subscribers = Vec::new();
        if self.operation == Operation::FanOut {
            for _ in 0..SUBSCRIBERS {
                let request = request!(SubscribeRequest { subject: subject.clone() });
                subscribers.push(connector.grpc.subscribe(request).await?.into_inner());
            }
        }
        Ok(Runner { connector, subject, subscribers })
    }
}

impl RoundTrip for Runner {
    async fn once(&mut self) -> Result<(), RoundTripError> {
        self.work().await.map_err(|error| RoundTripError::Response(crate::text(&error)))
    }
}

impl Runner {
    async fn work(&mut self) -> Result<(), Error> {
        let Connector { grpc, nats, operation, body } = &mut self.connector;
        let (subject, data) = (self.subject.clone(), body.clone());
        let is_done = match operation {
            Operation::Publish => {
                grpc.publish(request!(PublishRequest { subject, data })).await?.into_inner().success
            }
            Operation::PublishBatch => {
                let message = pb::NatsMessage { subject, data, ..Default::default() };
                let messages = vec![message; BATCH];
                let response = grpc.publish_batch(request!(PublishBatchRequest { messages })).await?;
                response.into_inner().success
            }
            Operation::PullAndAck => {
                let (stream_name, consumer_name) = (STREAM.to_owned(), CONSUMER.to_owned());
                let pull = request!(PullMessagesRequest { stream_name, consumer_name, batch_size: 1 });
                let pulled = grpc.pull_messages(pull).await?.into_inner();
                let sequence = pulled.messages.first().ok_or("nothing to pull")?.sequence;
                let (stream_name, consumer_name) = (STREAM.to_owned(), CONSUMER.to_owned());
                let ack = request!(AckMessageRequest { stream_name, consumer_name, sequence });
                grpc.ack_message(ack).await?.into_inner().success
            }
            Operation::KvPut => {
                let (bucket, key) = (BUCKET.to_owned(), next_key());
                grpc.kv_put(request!(KvPutRequest { bucket, key, value: data })).await?.into_inner().success
            }
            Operation::KvGet => {
                let (bucket, key) = (BUCKET.to_owned(), next_key());
                grpc.kv_get(request!(KvGetRequest { bucket, key })).await?.into_inner().found
            }
            Operation::FanOut => {
                let subject = format!("user.{USER}.{subject}");
                for _ in 0..BATCH {
                    nats.publish(subject.clone(), body.clone()).await?;
                }
                for subscriber in &mut self.subscribers {
                    for _ in 0..BATCH {
                        let message =
                            tokio::time::timeout(Duration::from_secs(10), subscriber.message()).await;
                        message??.ok_or("the stream has ended")?;
                    }
                }
                true
            }
        };
        if is_done { Ok(()) } else { Err("not done".into()) }
    }
}

/// Calls the echo over one HTTP/2 connection.
#[derive(Clone)]
pub(super) struct EchoConnector {
    grpc: Grpc<Channel>,
    body: Bytes,
}

impl EchoConnector {
    pub(super) async fn new(to: SocketAddr, length: usize) -> Result<Self, Error> {
        Ok(Self { grpc: Grpc::new(channel(to).await?), body: vec![b'x'; length].into() })
    }
}

impl Connect for EchoConnector {
    type Connection = Self;

    async fn connect(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

impl RoundTrip for EchoConnector {
    async fn once(&mut self) -> Result<(), RoundTripError> {
        let failed = |error: tonic::Status| RoundTripError::Response(error.to_string());
        self.grpc.ready().await.map_err(|error| RoundTripError::Broken(error.to_string()))?;
        let (path, codec) = (PathAndQuery::from_static(ECHO), ProstCodec::<Bytes, Bytes>::default());
        let response = self.grpc.unary(Request::new(self.body.clone()), path, codec).await.map_err(failed)?;
        match response.into_inner().len() == self.body.len() {
            true => Ok(()),
            false => Err(RoundTripError::Response("wrong length".to_owned())),
        }
    }
}
