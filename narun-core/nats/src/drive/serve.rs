use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use async_nats::Subject;
use narun_core::exchange::Callee;

use super::machine::Hold;
use super::outlet::CalleeOutlet;
use super::run::Drive;
use super::shared::{IncomingBody, SharedMachine};
use crate::inbox::Endpoint;

/// The serving side of an exchange, driven with the handler as its application.
///
/// No token is opened before one must be named: an exchange whose response is complete at once has none.
pub type Serving = Drive<HeldCallee, CalleeOutlet>;

/// A request's body that is streamed.
pub type IncomingRequest = IncomingBody<Callee<Subject>>;

/// The machine of the serving side: shared with the reader of the request's body if that is streamed.
pub enum HeldCallee {
    /// The request was complete.
    Own(Callee<Subject>),
    /// The request's body is streamed.
    Shared(Arc<SharedMachine<Callee<Subject>>>),
}

impl Serving {
    /// Drives the exchange of a request.
    pub fn serve(endpoint: Arc<Endpoint>, machine: HeldCallee) -> Self {
        Self::new(endpoint, machine, CalleeOutlet::default(), None)
    }
}

impl HeldCallee {
    /// Shares a machine with the reader of the request's body.
    pub fn share(machine: Callee<Subject>) -> (Self, IncomingRequest) {
        let (shared, incoming) = SharedMachine::new(machine);
        (Self::Shared(shared), incoming)
    }

    /// Returns whether the request's body is streamed.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

impl Hold<Callee<Subject>> for HeldCallee {
    fn with<R>(&mut self, step: impl FnOnce(&mut Callee<Subject>) -> R) -> R {
        match self {
            Self::Own(machine) => step(machine),
            Self::Shared(shared) => shared.with(step),
        }
    }

    fn wake_reader(&self, here: &Waker) {
        if let Self::Shared(shared) = self {
            shared.wake_reader(here);
        }
    }

    fn set_driver(&self, driver: Option<&Waker>) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Shared(shared) => shared.set_driver(driver),
        }
    }
}

impl fmt::Debug for HeldCallee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeldCallee").field(&self.is_shared()).finish()
    }
}
