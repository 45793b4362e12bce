//! The ideal to compare with: NATS request and reply, without HTTP.

use async_nats::{Client, Subject};
use bytes::Bytes;
use futures::StreamExt;

use super::app::NatsApp;
use super::parent;
use crate::Error;
use crate::round::{Connect, RoundTrip, RoundTripError};

/// Replies to every request with its payload, until the process ends.
pub(super) async fn respond(at: NatsApp) -> Result<(), Error> {
    let client = async_nats::connect(&at.nats).await?;
    let mut requests = client.queue_subscribe(at.app.clone(), at.app.clone()).await?;
    parent::ready(&at.app);
    while let Some(request) = requests.next().await {
        if let Some(reply) = request.reply {
            client.publish(reply, request.payload).await?;
        }
    }
    Err("the NATS connection is gone".into())
}

/// Makes requests over one NATS connection, which multiplexes them.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    client: Client,
    subject: Subject,
    body: Bytes,
}

impl Connector {
    pub(super) async fn new(at: NatsApp, length: usize) -> Result<Self, Error> {
        let client = async_nats::connect(&at.nats).await?;
        Ok(Self { client, subject: at.app.into(), body: vec![b'x'; length].into() })
    }
}

impl Connect for Connector {
    type Connection = Self;

    async fn connect(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

impl RoundTrip for Connector {
    async fn once(&mut self) -> Result<(), RoundTripError> {
        match self.client.request(self.subject.clone(), self.body.clone()).await {
            Ok(reply) if reply.payload.len() == self.body.len() => Ok(()),
            Ok(_) => Err(RoundTripError::Response("wrong length".to_owned())),
            Err(error) => Err(RoundTripError::Response(error.to_string())),
        }
    }
}
