use std::sync::Arc;

use async_nats::Subject;
use narun_core::exchange::Callee;
use narun_nats::drive::Shared;

/// The state of an exchange: shared with whoever reads the request's body, if that comes piece by piece.
pub(crate) enum Machine {
    Own(Callee<Subject>),
    Shared(Arc<Shared<Callee<Subject>>>),
}

impl Machine {
    /// Does one step with it.
    pub(crate) fn with<R>(&mut self, step: impl FnOnce(&mut Callee<Subject>) -> R) -> R {
        match self {
            Self::Own(machine) => step(machine),
            Self::Shared(shared) => shared.with(step),
        }
    }

    /// The reader's part, if there is one.
    pub(crate) const fn shared(&self) -> Option<&Arc<Shared<Callee<Subject>>>> {
        match self {
            Self::Own(_) => None,
            Self::Shared(shared) => Some(shared),
        }
    }
}
