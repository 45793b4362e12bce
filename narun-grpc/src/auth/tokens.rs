use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::Status;

use super::{AuthRequest, Authenticator, Principal};

/// Authenticates callers by a fixed list of bearer tokens.
///
/// Only SHA-256 digests of the tokens are kept. The whole list is compared in constant time, so timing reveals nothing
/// about a token. Meant for up to some hundred tokens.
///
/// ```
/// use narun_grpc::auth::{Principal, StaticTokens};
///
/// let tokens = StaticTokens::new()
///     .token("correct horse battery staple", Principal::user("ann"))
///     .token("hunter2hunter2hunter2", Principal::anyone("proxy"));
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct StaticTokens {
    known: Vec<([u8; 32], Principal)>,
}

impl StaticTokens {
    /// An empty list, which refuses every caller.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a token and its principal. An empty token is ignored.
    pub fn token(mut self, token: impl AsRef<str>, principal: Principal) -> Self {
        if !token.as_ref().is_empty() {
            self.known.push((Sha256::digest(token.as_ref()).into(), principal));
        }
        self
    }

    fn find(&self, token: &str) -> Option<&Principal> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for (known, principal) in &self.known {
            if known.ct_eq(&digest).into() {
                found = Some(principal);
            }
        }
        found
    }
}

impl fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known.iter().map(|(_, principal)| principal)).finish()
    }
}

#[tonic::async_trait]
impl Authenticator for StaticTokens {
    async fn authenticate(&self, request: &AuthRequest<'_>) -> Result<Principal, Status> {
        let token = request.bearer().ok_or_else(|| Status::unauthenticated("no bearer token"))?;
        self.find(token).cloned().ok_or_else(|| Status::unauthenticated("unknown bearer token"))
    }

    fn reads_ids(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Principal, StaticTokens};

    #[test]
    fn only_whole_tokens_are_accepted() {
        let tokens = StaticTokens::new()
            .token("one", Principal::user("a"))
            .token("two", Principal::user("b"))
            .token("", Principal::anyone("nobody"));
        assert_eq!(tokens.find("two"), Some(&Principal::user("b")));
        for token in ["", "on", "onee", "One", "three"] {
            assert_eq!(tokens.find(token), None, "{token:?}");
        }
        assert!(!format!("{tokens:?}").contains("two"));
    }
}
