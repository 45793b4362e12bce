use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Message};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Inbox;

/// Pulls that are left at a time, at most.
const LEAVING: usize = 1024;

/// What can be on its way beside messages: what is said at the end of what was asked before, meanwhile, which is that it
/// goes on, and at the end.
const SAID: usize = 16;

/// How long it may take to leave one.
const LIMIT: Duration = Duration::from_secs(10);

/// Pulls that nobody waits for any more: what they have got, and what they may still get, is given back.
#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<JoinSet<()>>);

/// What may still come to the inbox of a pull.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// At once, this many messages, or an end to them.
    AtOnce(usize),
    /// This many at most, some time.
    Waiting(usize),
}

impl Leaving {
    /// Gives back these messages, and all that comes to the inbox.
    ///
    /// With too many at a time, or no room in the client's queue within the limit, they come again after the
    /// consumer's time.
    pub(super) fn leave(&self, client: &Client, taken: Vec<Message>, inbox: Option<(Inbox, Due)>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut leaving = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while leaving.try_join_next().is_some() {}
        if leaving.len() >= LEAVING {
            return;
        }
        let client = client.clone();
        let left = async move {
            for message in taken {
                give_back(&client, message).await;
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

/// Gives back what comes at once, until no more does.
async fn finish(client: &Client, mut inbox: Inbox, mut due: usize) {
    while due > 0 {
        let Some(message) = inbox.next().await else { return };
        match message.status {
            None => due -= 1,
            Some(_) if completes_previous_pull(&message) => {}
            Some(_) => return,
        }
        give_back(client, message).await;
    }
}

/// Ends an inbox at which messages are waited for, and gives back what the server had sent there by then.
///
/// It cannot just be unsubscribed: the client would forget it at once, and lose what is on its way. So it is to end after
/// as many messages as can be on their way, and is sent so many that this comes about.
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
        give_back(client, message).await;
    }
}

/// Whether this is what the server says when all has come that was asked for, which nobody waits for then.
pub(crate) fn completes_previous_pull(message: &Message) -> bool {
    message.description.as_deref() == Some("Batch Completed")
}

async fn give_back(client: &Client, message: Message) {
    if let Some(reply) = message.reply.filter(|reply| reply.starts_with("$JS.ACK.")) {
        // Without a connection task it comes again after the consumer's time.
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
    use crate::connection::Mark;
    use crate::connection::inboxes::Inboxes;

    #[tokio::test]
    async fn an_inbox_that_is_left_ends_whatever_is_on_its_way() {
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
                let answer = timeout(Duration::from_millis(100), request).await;
                let error = answer.ok().and_then(Result::err);
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
