//! Reads direct requests from the subscription, and leaves the queue group at a shutdown.

use std::sync::Arc;

use async_nats::Message;
use narun_core::frame::{Frame, Refusal};
use narun_core::{App, Namespace};
use narun_nats::{NatsClient, Subscription};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::consumer::{Consumer, ReceivedMessage, refuse};
use crate::drain::Meter;
use crate::error::ServeError;
use crate::metrics;

/// A PROBE is shorter than this, a REQUEST longer.
const SHORT: usize = 8;

/// Reads messages and admits or refuses them. It never runs user code and never waits for anything else.
pub(crate) struct Reader {
    subscription: Subscription,
    consumer: Arc<Consumer>,
    sender: mpsc::Sender<ReceivedMessage>,
    meter: Meter,
}

impl Reader {
    pub(crate) async fn open(
        nats: &NatsClient,
        namespace: &Namespace,
        app: &App,
        consumer: Arc<Consumer>,
        sender: mpsc::Sender<ReceivedMessage>,
    ) -> Result<Self, ServeError> {
        let (subject, group) = (namespace.call_subject(app), app.as_str().to_owned());
        let subscription =
            Subscription::open(nats, subject, Some(group)).await.map_err(|_| ServeError::ClientLost)?;
        let meter = Meter::new(consumer.endpoint.epoch());
        Ok(Self { subscription, consumer, sender, meter })
    }

    /// Reads until the subscription ends. Cancel safe: no message is lost.
    pub(crate) async fn run(&mut self) {
        while let Some(message) = self.subscription.next().await {
            self.admit(message);
        }
    }

    fn admit(&mut self, message: Message) {
        let endpoint = &self.consumer.endpoint;
        let received = endpoint.now();
        // The server counts anew on each connection, and for each subscription.
        self.meter.count(received, endpoint.epoch() + self.subscription.renewals());
        if message.payload.len() < SHORT
            && matches!(Frame::decode(&message.payload, endpoint.limits()), Ok(Frame::Probe))
        {
            // A consumer that starts looks for its subscription.
            return;
        }
        let can_reply = message.reply.as_ref().is_some_and(|reply| endpoint.replies().allows(reply));
        if !can_reply {
            return metrics::foreign_reply();
        }
        match self.consumer.admission.admit() {
            // Never full: the channel has as much room as there are places.
            Some(place) => {
                self.consumer.note_taken();
                drop(self.sender.try_send(ReceivedMessage { message, received, place }));
            }
            None => {
                self.consumer.metrics.refused(metrics::Refusal::Overloaded);
                self.consumer.failures.refused("all slots and places are taken", None, &message.payload);
                refuse(endpoint, message, Refusal::Overloaded);
            }
        }
    }

    /// Leaves the queue group, and reads the messages that the server has sent until then.
    pub(crate) async fn drain(&mut self) {
        let endpoint = self.consumer.endpoint.clone();
        let asked = Instant::now();
        let round_trip = async {
            let _ = timeout(Meter::PATIENCE, endpoint.round_trip()).await;
            asked.elapsed()
        };
        let round_trip = tokio::select! {
            () = self.run() => return,
            round_trip = round_trip => round_trip,
        };
        if let Some(last) = self.meter.last_message(endpoint.now(), round_trip) {
            let _ = self.subscription.unsubscribe_after(last).await;
            if timeout(Meter::PATIENCE, self.run()).await.is_ok() {
                return;
            }
        }
        let _ = self.subscription.drain().await;
        let _ = timeout(Meter::PATIENCE, self.run()).await;
    }
}
