use tonic::Status;
use tracing::warn;

use super::{AuthRequest, Authenticator, Principal};

/// Takes the request's `user_id` and `organization_id` as they are, without a check.
///
/// Every client that reaches the service can act for every user: only for a private network with trusted clients.
#[derive(Clone, Copy, Debug)]
pub struct TrustRequest(());

impl TrustRequest {
    /// Trusts all requests, and logs a warning.
    #[expect(clippy::new_without_default, reason = "trust has to be asked for by name")]
    pub fn new() -> Self {
        warn!("requests to nats-grpc are not authenticated: every client can act for every user");
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
