//! The end of a caller's credential while a gRPC stream is open.

use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::MethodCall;
use crate::auth::AuthRequest;
use crate::status;

/// The longest sleep: the system's clock may be set meanwhile.
const LONGEST: Duration = Duration::from_secs(600);

/// Resolves to the status with which a stream ends, once the credential ends and the authenticator gives no later end, or
/// the caller is no longer of the tenant. Keeps a copy of the request's metadata for that.
pub(super) fn expiry(
    call: &MethodCall<'_>,
    auth: &AuthRequest<'_>,
    mut until: SystemTime,
) -> BoxFuture<'static, Status> {
    let (state, tenant) = (call.state.clone(), call.tenant().clone());
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
            let asked = async {
                let principal = state.authenticator.authenticate(&auth).await?;
                principal.check(&user, &organization)?;
                let space = state.tenancy.space(&principal, &user, &organization).await?;
                let moved = || Status::permission_denied("the caller is of another tenant now");
                (space.tenant == tenant).then(|| principal.end()).ok_or_else(moved)
            };
            let end = timeout(state.timeout, asked).await.unwrap_or_else(|_| Err(status::late()));
            until = match end {
                Err(status) => return status,
                Ok(None) => return std::future::pending().await,
                Ok(Some(later)) if left(later).is_some() => later,
                Ok(Some(_)) => return Status::unauthenticated("the credential has expired"),
            };
        }
    }
    .boxed()
}

/// The time until then. Returns `None` if it is over.
fn left(until: SystemTime) -> Option<Duration> {
    until.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())
}
