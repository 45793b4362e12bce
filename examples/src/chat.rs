//! A chat room as an ordinary tonic service, which knows nothing of NATS.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tonic::{Request, Response, Status, Streaming};

use self::pb::{Heard, Said, WhoReply, WhoRequest, chat_server};

/// The generated code of `proto/chat.proto`.
// The code is generated, so lints on it are of no use.
#[allow(missing_docs, unreachable_pub, unused_qualifications, rustdoc::all, clippy::all)]
pub mod pb {
    include!("generated/example.chat.rs");
}

/// The contract, as a `google.protobuf.FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/example.chat.bin");

/// How many lines a member may be behind.
const BACKLOG: usize = 256;

/// A chat room.
#[derive(Clone, Debug)]
pub struct Room {
    members: Arc<Mutex<BTreeSet<String>>>,
    heard: broadcast::Sender<Heard>,
}

/// The seat of a member. Dropping it, at the end of the call, removes the member.
struct Seat {
    room: Room,
    name: String,
    said: Streaming<Said>,
    heard: broadcast::Receiver<Heard>,
}

impl Room {
    /// An empty room.
    pub fn new() -> Self {
        Self { members: Arc::default(), heard: broadcast::channel(BACKLOG).0 }
    }

    /// Sends a line to all members.
    fn say(&self, from: &str, text: String) {
        // An error means that there is no member.
        let _ = self.heard.send(Heard { from: from.to_owned(), text });
    }

    fn members(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

#[tonic::async_trait]
impl chat_server::Chat for Room {
    type JoinStream = Pin<Box<dyn Stream<Item = Result<Heard, Status>> + Send>>;

    async fn join(&self, request: Request<Streaming<Said>>) -> Result<Response<Self::JoinStream>, Status> {
        let name = request.metadata().get("name").and_then(|name| name.to_str().ok()).unwrap_or_default();
        let name = name.to_owned();
        if name.is_empty() {
            return Err(Status::invalid_argument("the metadata field `name` is missing"));
        }
        if !self.members().insert(name.clone()) {
            return Err(Status::already_exists(format!("{name} is there already")));
        }
        let seat =
            Seat { heard: self.heard.subscribe(), room: self.clone(), name, said: request.into_inner() };
        self.say("", format!("{} is here", seat.name));
        Ok(Response::new(Box::pin(stream::try_unfold(seat, Seat::next))))
    }

    async fn who(&self, _: Request<WhoRequest>) -> Result<Response<WhoReply>, Status> {
        Ok(Response::new(WhoReply { names: self.members().iter().cloned().collect() }))
    }
}

impl Seat {
    /// Returns the next line for the member; meanwhile, sends the member's lines to all members.
    async fn next(mut self) -> Result<Option<(Heard, Self)>, Status> {
        loop {
            tokio::select! {
                // First, so that a member that leaves has all lines that were said before.
                biased;
                heard = self.heard.recv() => return match heard {
                    Ok(heard) => Ok(Some((heard, self))),
                    Err(RecvError::Lagged(_)) => Err(Status::resource_exhausted("too slow for this room")),
                    Err(RecvError::Closed) => Ok(None),
                },
                said = self.said.message() => match said? {
                    Some(Said { text }) => self.room.say(&self.name, text),
                    None => return Ok(None),
                },
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.members().remove(&self.name);
        self.room.say("", format!("{} is gone", self.name));
    }
}
