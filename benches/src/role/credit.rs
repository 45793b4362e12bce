//! The ideal that streamed bodies are compared with: a bare credit loop over NATS, without HTTP and frames.

use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use super::app::NatsApp;
use super::flood::CHUNK;
use super::parent;
use crate::Error;
use crate::round::{Connect, RoundTrip, RoundTripError};

/// Bytes in a part, which is what is counted.
const PART: u64 = 1024 * 1024;

/// Bytes in a message, about as many as in a DATA frame: async-nats would copy longer ones once more in its buffers.
const MESSAGE: usize = CHUNK.len() / 2 - 256;

/// Sends data to each requester while there is credit, until the process ends.
pub(super) async fn send(at: NatsApp, window: u64) -> Result<(), Error> {
    let client = async_nats::connect(&at.nats).await?;
    let mut requests = client.subscribe(at.app.clone()).await?;
    client.flush().await?;
    parent::ready(&at.app);
    while let Some(request) = requests.next().await {
        let client = client.clone();
        tokio::spawn(async move {
            if let Err(error) = stream(&client, request, window).await {
                eprintln!("{}", crate::text(&error));
            }
        });
    }
    Err("the NATS connection is gone".into())
}

async fn stream(client: &Client, request: Message, window: u64) -> Result<(), Error> {
    let to = request.reply.ok_or("no reply subject")?;
    let inbox = Subject::from(client.new_inbox());
    let mut credits = client.subscribe(inbox.clone()).await?;
    let (mut sent, mut credit) = (0, window);
    loop {
        while sent + MESSAGE as u64 <= credit {
            sent += MESSAGE as u64;
            let message = Bytes::from_static(&CHUNK[..MESSAGE]);
            client.publish_with_reply(to.clone(), inbox.clone(), message).await?;
        }
        let Some(next) = credits.next().await else { return Ok(()) };
        match next.payload.first_chunk() {
            Some(offset) => credit = u64::from_le_bytes(*offset),
            // The receiver is gone.
            None => return Ok(()),
        }
    }
}

/// Starts receiving over one NATS connection.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    client: Client,
    sender: Subject,
    window: u64,
}

impl Connector {
    pub(super) async fn new(at: NatsApp, window: u64) -> Result<Self, Error> {
        Ok(Self { client: async_nats::connect(&at.nats).await?, sender: at.app.into(), window })
    }
}

impl Connect for Connector {
    type Connection = Receiver;

    async fn connect(&self) -> Result<Receiver, Error> {
        let inbox = self.client.new_inbox();
        let messages = self.client.subscribe(inbox.clone()).await?;
        self.client.publish_with_reply(self.sender.clone(), inbox, Bytes::new()).await?;
        let (client, window) = (self.client.clone(), self.window);
        Ok(Receiver { client, messages, credits: None, window, received: 0, granted: window, counted: 0 })
    }
}

/// Data without an end.
#[derive(Debug)]
pub(super) struct Receiver {
    client: Client,
    messages: Subscriber,
    /// The subject for credit; `None` before the first message.
    credits: Option<Subject>,
    window: u64,
    received: u64,
    granted: u64,
    /// Bytes that were counted in parts.
    counted: u64,
}

impl RoundTrip for Receiver {
    async fn once(&mut self) -> Result<(), RoundTripError> {
        self.counted += PART;
        while self.received < self.counted {
            let message = self.messages.next().await.ok_or_else(|| failure("the NATS connection is gone"))?;
            self.received += message.payload.len() as u64;
            let Some(credits) = message.reply else { return Err(failure("there is no sender")) };
            if self.granted - self.received <= self.window / 2 {
                self.granted = self.received + self.window;
                let credit = Bytes::copy_from_slice(&self.granted.to_le_bytes());
                let granted = self.client.publish(credits.clone(), credit).await;
                granted.map_err(|error| failure(&error.to_string()))?;
            }
            self.credits = Some(credits);
        }
        Ok(())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(credits) = self.credits.take() {
            // If the client's queue is full, the sender stops for lack of credit.
            let _ = self.client.publish(credits, Bytes::new()).now_or_never();
        }
    }
}

fn failure(text: &str) -> RoundTripError {
    RoundTripError::Broken(text.to_owned())
}
