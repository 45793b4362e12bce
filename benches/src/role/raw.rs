//! The ideal to compare with: NATS request and reply, with no HTTP anywhere.

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt;

use crate::Error;
use crate::round::{Connect, Exchange, Failure};

const SUBJECT: &str = "load.raw";

/// Answers every request with its payload, until the process ends.
pub(super) async fn respond(nats: &str) -> Result<(), Error> {
    let client = async_nats::connect(nats).await?;
    let mut requests = client.queue_subscribe(SUBJECT, "load".to_owned()).await?;
    super::ready(SUBJECT);
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
    body: Bytes,
}

impl Connector {
    pub(super) async fn new(nats: &str, length: usize) -> Result<Self, Error> {
        Ok(Self { client: async_nats::connect(nats).await?, body: vec![b'x'; length].into() })
    }
}

impl Connect for Connector {
    type Exchange = Self;

    async fn connect(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

impl Exchange for Connector {
    async fn once(&mut self) -> Result<(), Failure> {
        match self.client.request(SUBJECT, self.body.clone()).await {
            Ok(answer) if answer.payload.len() == self.body.len() => Ok(()),
            Ok(_) => Err(Failure::Answer("wrong length".to_owned())),
            Err(error) => Err(Failure::Answer(error.to_string())),
        }
    }
}
