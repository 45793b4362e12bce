use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Message, Subject};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::inboxes::Inbox;

/// Clients whose messages wait to be given back, at most.
const LEAVING: usize = 65_536;

/// Those whose messages are given back at a time, at most.
const AT_A_TIME: usize = 64;

/// The status messages that can be on their way, beside messages: the completion of the previous pull, heartbeats, and
/// the end of the pull.
const SAID: usize = 16;

/// How long closing a pull may take once it is its turn.
const LIMIT: Duration = Duration::from_secs(10);

/// Closes abandoned pulls, and gives back the messages that they have and still get.
#[derive(Debug)]
pub(super) struct Leaving {
    tasks: Mutex<JoinSet<()>>,
    turns: Arc<Semaphore>,
}

impl Default for Leaving {
    fn default() -> Self {
        Self { tasks: Mutex::default(), turns: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

/// A delivered message that a client did not acknowledge.
#[derive(Clone, Debug)]
pub(crate) struct Unread {
    pub(crate) reply: Subject,
    /// When the server delivers it again, perhaps to another client. `None` if that is not soon.
    pub(crate) redelivered: Option<Instant>,
}

/// A pull that is closed.
pub(super) struct Left {
    pub(super) inbox: Inbox,
    pub(super) due: Due,
    /// How long after its delivery a message is redelivered. `None` if all messages have just arrived.
    pub(super) ack_wait: Option<Duration>,
}

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
    /// Gives back these messages, and all that arrive at the inbox. Those that were redelivered meanwhile are left out: the
    /// server would take them from another client.
    ///
    /// If too many wait to be closed, or the client's queue is full for too long, the messages are redelivered after
    /// the consumer's `ack_wait`.
    pub(super) fn leave(&self, client: &Client, taken: Vec<Unread>, pull: Option<Left>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut leaving = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while leaving.try_join_next().is_some() {}
        if leaving.len() >= LEAVING {
            return;
        }
        let (client, turns) = (client.clone(), self.turns.clone());
        let left = async move {
            for message in taken {
                give_back(&client, message).await;
            }
            if let Some(pull) = pull {
                match pull.due {
                    Due::AtOnce(due) => pull.finish(&client, due).await,
                    Due::Waiting(due) => pull.end(&client, due).await,
                    Due::Nothing => {}
                }
            }
        };
        let in_turn = async move {
            let _turn = turns.acquire().await;
            drop(timeout(LIMIT, left).await);
        };
        leaving.spawn_on(in_turn, &runtime);
    }

    /// Waits until everything was given back that was left until now. The caller limits the time; what is not given back
    /// then is redelivered after the consumer's `ack_wait`.
    pub(super) async fn finish(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.join_all().await;
    }
}

impl Left {
    /// Gives back the messages of a pull without waiting, until it ends.
    async fn finish(mut self, client: &Client, mut due: usize) {
        while due > 0 {
            let Some(message) = self.inbox.next().await else { return };
            match message.status {
                None => due -= 1,
                Some(_) if completes_previous_pull(&message) => {}
                Some(_) => return,
            }
            self.give_back(client, message).await;
        }
    }

    /// Closes the inbox of a waiting pull, and gives back the messages that were on their way.
    ///
    /// A plain unsubscribe would drop the messages on their way. So the subscription ends after as many messages as can be
    /// on their way, and as many empty messages are published to the inbox, so that it does end.
    async fn end(mut self, client: &Client, due: usize) {
        let on_their_way = due + SAID;
        let inbox = &mut self.inbox;
        if inbox.messages.unsubscribe_after(inbox.taken + on_their_way as u64).await.is_err() {
            return;
        }
        for _ in 0..on_their_way {
            if client.publish(inbox.subject.clone(), Bytes::new()).await.is_err() {
                return;
            }
        }
        while let Some(message) = self.inbox.next().await {
            self.give_back(client, message).await;
        }
    }

    async fn give_back(&self, client: &Client, message: Message) {
        if let Some(reply) = message.reply {
            let redelivered = self.ack_wait.map(|ack_wait| self.inbox.arrived + ack_wait);
            give_back(client, Unread { reply, redelivered }).await;
        }
    }
}

/// Whether this status completes a pull whose messages have all arrived, so that nothing waits for it.
pub(crate) fn completes_previous_pull(message: &Message) -> bool {
    message.description.as_deref() == Some("Batch Completed")
}

async fn give_back(client: &Client, message: Unread) {
    let Unread { reply, redelivered } = message;
    let is_own = redelivered.is_none_or(|redelivered| redelivered > Instant::now());
    if is_own && reply.starts_with("$JS.ACK.") {
        // On an error, the message is redelivered after `ack_wait`.
        let _ = client.publish(reply, Bytes::from_static(b"-NAK")).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::RequestErrorKind;
    use async_nats::jetstream::{self, consumer, stream};
    use bytes::Bytes;
    use futures::StreamExt;
    use narun_support::Server;
    use narun_support::testing::{eventually, settle};
    use tokio::time::{Instant, timeout};

    use super::{Due, Leaving, Left, SAID, Unread};
    use crate::connection::inboxes::Inboxes;
    use crate::connection::mark::Mark;
    use crate::state::ack_tokens::stream_sequence;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_message_that_was_redelivered_is_not_given_back() {
        let server = Server::builder().jetstream(true).start().expect("a nats-server");
        let client = async_nats::connect(server.url()).await.expect("a connection");
        let jetstream = jetstream::new(client.clone());
        let config = stream::Config { name: "s".into(), subjects: vec!["s".into()], ..Default::default() };
        let stream = jetstream.create_stream(config).await.expect("a stream");
        let config = consumer::pull::Config { durable_name: Some("c".into()), ..Default::default() };
        stream.create_consumer(config).await.expect("a consumer");
        let mut given_back = client.subscribe("$JS.ACK.>").await.expect("a subscription");
        let (leaving, now) = (Leaving::default(), Instant::now());
        let unread = |reply: &str, redelivered| Unread { reply: reply.into(), redelivered };
        let taken = vec![
            unread("$JS.ACK.s.c.1.11.1.0.0", Some(now)),
            unread("$JS.ACK.s.c.1.12.1.0.0", Some(now + LONG)),
            unread("$JS.ACK.s.c.1.13.1.0.0", None),
        ];
        leaving.leave(&client, taken, None);
        // What waits in an inbox for longer than `ack_wait` was redelivered, too.
        for (pending, ack_wait) in [(1, Duration::ZERO), (2, LONG)] {
            jetstream.publish("s", Bytes::new()).await.expect("a message").await.expect("a message stored");
            let inbox = Inboxes::default().take(&client, Mark(1)).await.expect("an inbox");
            let next = "$JS.API.CONSUMER.MSG.NEXT.s.c";
            client.publish_with_reply(next, inbox.subject.clone(), "1".into()).await.expect("a pull");
            eventually("a message delivered", async || {
                stream.consumer_info("c").await.is_ok_and(|info| info.num_ack_pending == pending)
            })
            .await;
            settle(&client).await;
            let left = Left { inbox, due: Due::Waiting(1), ack_wait: Some(ack_wait) };
            leaving.leave(&client, Vec::new(), Some(left));
        }
        timeout(Duration::from_secs(10), leaving.finish()).await.expect("an end");
        client.publish("$JS.ACK.end", Bytes::new()).await.expect("a message");
        let mut sequences = Vec::new();
        while let Some(message) = given_back.next().await {
            let Some(sequence) = stream_sequence(&message.subject) else { break };
            sequences.push(sequence);
        }
        sequences.sort_unstable();
        assert_eq!(sequences, [2, 12, 13]);
    }

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
            leaving.leave(&client, Vec::new(), Some(Left { inbox, due, ack_wait: None }));
            eventually("an end", async || {
                let request = other.request(subject.clone(), Bytes::new());
                let reply = timeout(Duration::from_millis(100), request).await;
                let error = reply.ok().and_then(Result::err);
                error.is_some_and(|error| error.kind() == RequestErrorKind::NoResponders)
            })
            .await;
        }
        eventually("no more tasks", async || {
            let mut leaving = leaving.tasks.lock().expect("no panic");
            while leaving.try_join_next().is_some() {}
            leaving.is_empty()
        })
        .await;
    }
}
