use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::inboxes::Inbox;

/// Pulls that are closed at a time, at most.
const LEAVING: usize = 1024;

/// The status messages that can be on their way, beside messages: the completion of the previous pull, heartbeats, and
/// the end of the pull.
const SAID: usize = 16;

/// How long closing a pull may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Closes abandoned pulls, and gives back the messages that they have and still get.
#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<JoinSet<()>>);

/// The messages that may still arrive at the inbox of a pull.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// No message.
    Nothing,
    /// Up to this many messages, at once, or a status that ends them.
    AtOnce(usize),
    /// Up to this many messages, at any time.
    Waiting(usize),
}

impl Leaving {
    /// Gives back the messages with these reply subjects, and all that arrive at the inbox.
    ///
    /// If too many pulls are being closed, or the client's queue is full for too long, the messages are redelivered after
    /// the consumer's `ack_wait`.
    pub(super) fn leave(&self, client: &Client, taken: Vec<Subject>, inbox: Option<(Inbox, Due)>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut leaving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while leaving.try_join_next().is_some() {}
        if leaving.len() >= LEAVING {
            return;
        }
        let client = client.clone();
        let left = async move {
            for reply in taken {
                give_back(&client, Some(reply)).await;
            }
            match inbox {
                Some((inbox, Due::AtOnce(due))) => finish(&client, inbox, due).await,
                Some((inbox, Due::Waiting(due))) => end(&client, inbox, due).await,
                Some((_, Due::Nothing)) | None => {}
            }
        };
        leaving.spawn_on(async { drop(timeout(LIMIT, left).await) }, &runtime);
    }
}

/// Gives back the messages of a pull without waiting, until it ends.
async fn finish(client: &Client, mut inbox: Inbox, mut due: usize) {
    while due > 0 {
        let Some(message) = inbox.next().await else { return };
        match message.status {
            None => due -= 1,
            Some(_) if completes_previous_pull(&message) => {}
            Some(_) => return,
        }
        give_back(client, message.reply).await;
    }
}

/// Closes the inbox of a waiting pull, and gives back the messages that were on their way.
///
/// A plain unsubscribe would drop the messages on their way. So the subscription ends after as many messages as can be on
/// their way, and as many empty messages are published to the inbox, so that it does end.
async fn end(client: &Client, mut inbox: Inbox, due: usize) {
    let on_their_way = due + SAID;
    if inbox.messages.unsubscribe_after(inbox.taken + on_their_way as u64).await.is_err() {
        return;
    }
    for _ in 0..on_their_way {
        if client.publish(inbox.subject.clone(), Bytes::new()).await.is_err() {
            return;
        }
    }
    while let Some(message) = inbox.next().await {
        give_back(client, message.reply).await;
    }
}

/// Whether this status completes a pull whose messages have all arrived, so that nothing waits for it.
pub(crate) fn completes_previous_pull(message: &Message) -> bool {
    message.description.as_deref() == Some("Batch Completed")
}

async fn give_back(client: &Client, reply: Option<Subject>) {
    if let Some(reply) = reply.filter(|reply| reply.starts_with("$JS.ACK.")) {
        // On an error, the message is redelivered after `ack_wait`.
        let _ = client.publish(reply, Bytes::from_static(b"-NAK")).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::RequestErrorKind;
    use bytes::Bytes;
    use narun_support::Server;
    use narun_support::testing::{eventually, settle};
    use tokio::time::timeout;

    use super::{Due, Leaving, SAID};
    use crate::connection::inboxes::Inboxes;
    use crate::connection::mark::Mark;

    #[tokio::test]
    async fn a_closed_inbox_ends_whatever_is_on_its_way() {
        let server = Server::start().expect("a nats-server");
        let client = async_nats::connect(server.url()).await.expect("a connection");
        let other = async_nats::connect(server.url()).await.expect("a connection");
        let leaving = Leaving::default();
        for (due, messages) in [
            (Due::Waiting(1), 0),
            (Due::Waiting(1), 1),
            (Due::Waiting(1), 1 + SAID),
            (Due::Waiting(100), 50),
            (Due::AtOnce(1000), 1000),
        ] {
            let inbox = Inboxes::default().take(&client, Mark(1)).await.expect("an inbox");
            let subject = inbox.subject.clone();
            settle(&client).await;
            for _ in 0..messages {
                other.publish(subject.clone(), Bytes::new()).await.expect("a message");
            }
            settle(&other).await;
            leaving.leave(&client, Vec::new(), Some((inbox, due)));
            eventually("an end", async || {
                let request = other.request(subject.clone(), Bytes::new());
                let reply = timeout(Duration::from_millis(100), request).await;
                let error = reply.ok().and_then(Result::err);
                error.is_some_and(|error| error.kind() == RequestErrorKind::NoResponders)
            })
            .await;
        }
        eventually("no more tasks", async || {
            let mut leaving = leaving.0.lock().expect("no panic");
            while leaving.try_join_next().is_some() {}
            leaving.is_empty()
        })
        .await;
    }
}
