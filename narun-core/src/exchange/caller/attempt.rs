/// The state of one attempt to send the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt<A> {
    /// Published; no frame has arrived yet.
    Sent,
    /// A consumer has the request. It can be addressed if it named a token.
    Taken { by: Option<A> },
    /// The attempt was refused or lost.
    Over,
}

impl<A> Attempt<A> {
    /// Returns the token of the consumer that has taken the attempt, if it named one.
    pub(super) const fn consumer(&self) -> Option<&A> {
        match self {
            Self::Taken { by } => by.as_ref(),
            Self::Sent | Self::Over => None,
        }
    }

    pub(super) const fn is_taken(&self) -> bool {
        matches!(self, Self::Taken { .. })
    }
}
