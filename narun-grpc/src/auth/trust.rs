use tonic::Status;
use tracing::warn;

use super::{AuthRequest, Authenticator, Principal};

/// Takes the request's `user_id` and `organization_id` as they are, without any proof.
///
/// Everybody who reaches the service can then be everybody: it is for a private network where all clients are trusted.
/// Making one logs a warning that says so.
#[derive(Clone, Copy, Debug)]
pub struct TrustRequest(());

impl TrustRequest {
    /// Trusts all requests, and logs a warning.
    #[expect(clippy::new_without_default, reason = "nothing is trusted without being asked for by name")]
    pub fn new() -> Self {
        warn!("requests to nats-grpc are not authenticated: whoever reaches it can act for every user");
        Self(())
    }
}

#[tonic::async_trait]
impl Authenticator for TrustRequest {
    async fn authenticate(&self, request: &AuthRequest<'_>) -> Result<Principal, Status> {
        let principal = Principal::user(request.user_id);
        Ok(match request.organization_id {
            "" => principal,
            organization => principal.organization(organization),
        })
    }
}
