//! A chat room as a gRPC service, written as tonic wants it: it knows nothing of NATS.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tonic::{Request, Response, Status, Streaming};

use self::pb::{Heard, Said, WhoReply, WhoRequest, chat_server};

/// The generated code of `proto/chat.proto`.
// Written by prost and tonic as they are: nobody changes it, so what lints say of it helps nobody.
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

/// A member, until this is dropped: at the end of the call, whatever that is.
struct Seat {
    room: Room,
    name: String,
    said: Streaming<Said>,
    heard: broadcast::Receiver<Heard>,
}

impl Room {
    /// A room with nobody in it.
    pub fn new() -> Self {
        Self { members: Arc::default(), heard: broadcast::channel(BACKLOG).0 }
    }

    /// Everybody hears this.
    fn say(&self, from: &str, text: String) {
        // An error means that nobody is there.
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
            return Err(Status::invalid_argument("the metadata field `name` says who joins"));
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
    /// The next line that is heard; meanwhile, what the member says is told to everybody.
    async fn next(mut self) -> Result<Option<(Heard, Self)>, Status> {
        loop {
            tokio::select! {
                // First, so that a member who leaves has heard all that was said before.
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
