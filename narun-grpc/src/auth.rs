//! Who is calling: the [`Authenticator`] seam, and what is ready-made for it.
//!
//! | | takes | feature |
//! |---|---|---|
//! | [`TrustRequest`] | the request's own identity fields, as they are | |
//! | [`StaticTokens`] | `authorization: Bearer …`, one of a fixed list | |
#![cfg_attr(
    feature = "jwt",
    doc = "| [`JsonWebTokens`] | `authorization: Bearer …`, signed by somebody known | `jwt` |"
)]
#![cfg_attr(feature = "mtls", doc = "| [`CertificateSubject`] | the client's certificate | `mtls` |")]

#[cfg(feature = "jwt")]
mod jwt;
#[cfg(feature = "mtls")]
mod mtls;
mod tokens;
mod trust;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use http::Extensions;
use tonic::Status;
use tonic::metadata::MetadataMap;

#[cfg(feature = "jwt")]
pub use self::jwt::{JsonWebTokens, JwtKeyError};
#[cfg(feature = "mtls")]
pub use self::mtls::CertificateSubject;
pub use self::tokens::StaticTokens;
pub use self::trust::TrustRequest;

/// Finds out who is calling.
///
/// ```
/// use narun_grpc::auth::{Authenticator, AuthRequest, Principal};
/// use tonic::Status;
///
/// /// Whoever the proxy in front says it is.
/// struct Proxy;
///
/// #[tonic::async_trait]
/// impl Authenticator for Proxy {
///     async fn authenticate(&self, request: &AuthRequest<'_>) -> Result<Principal, Status> {
///         let user = request.metadata().get("x-user").and_then(|user| user.to_str().ok());
///         user.map(Principal::user).ok_or_else(|| Status::unauthenticated("no user"))
///     }
/// }
/// ```
#[tonic::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Finds out who is calling. It is asked once for each call, within the call's time.
    ///
    /// # Errors
    ///
    /// A status of [`Code::Unauthenticated`](tonic::Code::Unauthenticated), or of
    /// [`Code::Unavailable`](tonic::Code::Unavailable) if it cannot tell at the moment; the client is given it.
    async fn authenticate(&self, request: &AuthRequest<'_>) -> Result<Principal, Status>;
}

/// What is known of a call before it is known who makes it.
#[derive(Clone, Copy)]
pub struct AuthRequest<'a> {
    pub(crate) metadata: &'a MetadataMap,
    pub(crate) extensions: &'a Extensions,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) user_id: &'a str,
    pub(crate) organization_id: &'a str,
}

impl<'a> AuthRequest<'a> {
    /// The call's metadata.
    pub const fn metadata(&self) -> &'a MetadataMap {
        self.metadata
    }

    /// The call's extensions, where tonic's server and interceptors put what they know.
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The address that the call came from, if that is known.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The user that the request names. It is a claim.
    pub const fn user_id(&self) -> &'a str {
        self.user_id
    }

    /// The organization that the request names. It is a claim.
    pub const fn organization_id(&self) -> &'a str {
        self.organization_id
    }

    /// The token of `authorization: Bearer …`.
    pub fn bearer(&self) -> Option<&'a str> {
        let (scheme, token) = self.metadata.get("authorization")?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

impl fmt::Debug for AuthRequest<'_> {
    /// Metadata has secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("peer", &self.peer)
            .field("user_id", &self.user_id)
            .field("organization_id", &self.organization_id)
            .finish_non_exhaustive()
    }
}

/// Who is calling, and for whom that one may act.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Principal {
    name: String,
    /// Whether the name is a user's, for whom it may act.
    is_user: bool,
    users: Whose,
    organizations: Option<Whose>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    These(BTreeSet<String>),
    Anyones,
}

impl Whose {
    fn add(&mut self, id: String) {
        if let Self::These(ids) = self {
            ids.insert(id);
        }
    }

    fn has(&self, id: &str) -> bool {
        match self {
            Self::These(ids) => ids.contains(id),
            Self::Anyones => true,
        }
    }
}

impl Principal {
    /// A user, who may act for itself only, and of whose organizations nothing is known.
    pub fn user(id: impl Into<String>) -> Self {
        let users = Whose::These(BTreeSet::new());
        Self { name: id.into(), is_user: true, users, organizations: None }
    }

    /// Somebody who may act for every user and organization, such as a gateway of one's own.
    pub fn anyone(name: impl Into<String>) -> Self {
        let organizations = Some(Whose::Anyones);
        Self { name: name.into(), is_user: false, users: Whose::Anyones, organizations }
    }

    /// Who also may act for this user.
    pub fn acting_for(mut self, user_id: impl Into<String>) -> Self {
        self.users.add(user_id.into());
        self
    }

    /// Who belongs to this organization, beside others. Where tenants are organizations, a principal without any may
    /// do nothing; where they are users, one without any may name whichever it likes, as nothing depends on it.
    pub fn organization(mut self, id: impl Into<String>) -> Self {
        self.organizations.get_or_insert(Whose::These(BTreeSet::new())).add(id.into());
        self
    }

    /// What it is called in audit records.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may act for this user.
    pub fn may_act_for(&self, user_id: &str) -> bool {
        self.is_user && self.name == user_id || self.users.has(user_id)
    }

    /// Whether it is known to belong to this organization.
    pub fn belongs_to(&self, organization_id: &str) -> bool {
        self.organizations.as_ref().is_some_and(|organizations| organizations.has(organization_id))
    }

    /// Whether what a request says of its identity can be true.
    pub(crate) fn check(&self, user_id: &str, organization_id: &str) -> Result<(), Status> {
        if !self.may_act_for(user_id) {
            return Err(Status::permission_denied("user_id is not the caller's"));
        }
        let organization =
            organization_id.is_empty() || self.organizations.is_none() || self.belongs_to(organization_id);
        organization
            .then_some(())
            .ok_or_else(|| Status::permission_denied("organization_id is not the caller's"))
    }
}

#[cfg(test)]
mod tests {
    use super::Principal;

    #[test]
    fn principals_act_for_those_named_only() {
        let ann = Principal::user("ann").acting_for("bot").organization("acme");
        assert!(ann.check("ann", "acme").is_ok());
        assert!(ann.check("bot", "").is_ok());
        assert!(ann.check("ann", "other").is_err());
        for user in ["", "Ann", "ann ", "bo", "ann.bot", "*"] {
            assert!(ann.check(user, "acme").is_err(), "{user:?}");
        }
        assert!(Principal::user("ann").check("ann", "whatever").is_ok());
        assert!(!Principal::user("ann").belongs_to("whatever"));
        assert!(Principal::anyone("proxy").acting_for("x").check("who", "ever").is_ok());
    }
}
