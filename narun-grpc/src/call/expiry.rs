//! The end of a caller's credential while a gRPC stream is open.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};
use tonic::Status;

use crate::auth::AuthRequest;
use crate::state::ServiceState;
use crate::status;

/// The longest sleep: the system's clock may be set meanwhile.
const LONGEST: Duration = Duration::from_secs(600);

/// Resolves to the status with which a stream ends, once the credential ends and the authenticator gives no later end.
/// Keeps a copy of the request's metadata for that.
pub(super) fn expiry(
    state: &Arc<ServiceState>,
    auth: &AuthRequest<'_>,
    mut until: SystemTime,
) -> BoxFuture<'static, Status> {
    let state = state.clone();
    let (metadata, extensions, peer) = (auth.metadata.clone(), auth.extensions.clone(), auth.peer);
    let (user, organization) = (auth.user_id.to_owned(), auth.organization_id.to_owned());
    async move {
        loop {
            while let Some(left) = left(until) {
                sleep(left.min(LONGEST)).await;
            }
            let auth = AuthRequest {
                metadata: &metadata,
                extensions: &extensions,
                peer,
                user_id: &user,
                organization_id: &organization,
            };
            let asked = timeout(state.timeout, state.authenticator.authenticate(&auth)).await;
            let principal = match asked.unwrap_or_else(|_| Err(status::late())) {
                Ok(principal) => principal,
                Err(status) => return status,
            };
            if let Err(status) = principal.check(&user, &organization) {
                return status;
            }
            until = match principal.end() {
                None => return std::future::pending().await,
                Some(later) if left(later).is_some() => later,
                Some(_) => return Status::unauthenticated("the credential has expired"),
            };
        }
    }
    .boxed()
}

/// The time until then. Returns `None` if it is over.
fn left(until: SystemTime) -> Option<Duration> {
    until.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())
}
