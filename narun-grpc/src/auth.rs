//! Authenticating callers: the [`Authenticator`] trait and its implementations.
//!
//! | | checks | feature |
//! |---|---|---|
//! | [`TrustRequest`] | nothing: takes the request's identity fields as they are | |
//! | [`StaticTokens`] | `authorization: Bearer …` against a fixed list | |
#![cfg_attr(
    feature = "jwt",
    doc = "| [`JsonWebTokens`] | `authorization: Bearer …`, a signed JSON Web Token | `jwt` |"
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
use std::time::SystemTime;

use http::Extensions;
use tonic::Status;
use tonic::metadata::MetadataMap;

#[cfg(feature = "jwt")]
pub use self::jwt::{JsonWebTokens, JwtKeyError, RequiredClaims};
#[cfg(feature = "mtls")]
pub use self::mtls::CertificateSubject;
#[cfg(feature = "mtls")]
pub(crate) use self::mtls::TlsConnectInfo;
pub use self::tokens::StaticTokens;
pub use self::trust::TrustRequest;

/// Authenticates callers.
///
/// ```
/// use narun_grpc::auth::{Authenticator, AuthRequest, Principal};
/// use tonic::Status;
///
/// /// Trusts a header that the proxy in front sets.
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
    /// Returns the principal that makes this call. Called once per call, within the call's time limit; and again with the
    /// same request when the principal's credential [ends](Principal::until) while a gRPC stream is open.
    ///
    /// # Errors
    ///
    /// The status that the client receives: [`Code::Unauthenticated`](tonic::Code::Unauthenticated), or
    /// [`Code::Unavailable`](tonic::Code::Unavailable) if the check is not possible at the moment.
    async fn authenticate(&self, request: &AuthRequest<'_>) -> Result<Principal, Status>;

    /// Whether [`authenticate`](Self::authenticate) reads the user or the organization that the request names. Default:
    /// true.
    ///
    /// If not, it is called before the message of the request is read, with empty ids, so that a caller without
    /// credentials takes no memory. The audit record of a refused call has no ids and no resource then.
    fn reads_ids(&self) -> bool {
        true
    }
}

/// A principal that was authenticated before the message was read: an extension of the request.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated(pub(crate) Principal);

/// What an [`Authenticator`] sees of a call.
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

    /// The call's extensions, which tonic's server and interceptors set.
    pub const fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The address of the peer, if that is known.
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The user that the request names, unverified.
    pub const fn user_id(&self) -> &'a str {
        self.user_id
    }

    /// The organization that the request names, unverified.
    pub const fn organization_id(&self) -> &'a str {
        self.organization_id
    }

    /// The token of `authorization: Bearer …`, if there is one.
    pub fn bearer(&self) -> Option<&'a str> {
        let (scheme, token) = self.metadata.get("authorization")?.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

impl fmt::Debug for AuthRequest<'_> {
    /// Without the metadata, which may have secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("peer", &self.peer)
            .field("user_id", &self.user_id)
            .field("organization_id", &self.organization_id)
            .finish_non_exhaustive()
    }
}

/// An authenticated caller, and the users and organizations that it may act for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Principal {
    name: String,
    /// Whether the name is a user id that the principal may act for.
    is_user: bool,
    users: Whose,
    organizations: Option<Whose>,
    until: Option<SystemTime>,
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
    /// A user that may act for itself only. Its organizations are unknown.
    pub fn user(id: impl Into<String>) -> Self {
        let users = Whose::These(BTreeSet::new());
        Self { name: id.into(), is_user: true, users, organizations: None, until: None }
    }

    /// A principal that may act for every user and organization, such as a trusted proxy.
    pub fn anyone(name: impl Into<String>) -> Self {
        let organizations = Some(Whose::Anyones);
        Self { name: name.into(), is_user: false, users: Whose::Anyones, organizations, until: None }
    }

    /// Lets the principal act for this user too.
    pub fn acting_for(mut self, user_id: impl Into<String>) -> Self {
        self.users.add(user_id.into());
        self
    }

    /// Adds an organization that the principal belongs to.
    ///
    /// If tenants are organizations, a principal without any can do nothing. If tenants are users, a principal without
    /// any may name every organization, which decides nothing then.
    pub fn organization(mut self, id: impl Into<String>) -> Self {
        self.organizations.get_or_insert(Whose::These(BTreeSet::new())).add(id.into());
        self
    }

    /// Sets when its credential ends. Default: never.
    ///
    /// The authenticator is asked again then for each open gRPC stream of the principal. The stream ends with its failure,
    /// or with UNAUTHENTICATED unless the principal that it returns ends later.
    pub const fn until(mut self, end: SystemTime) -> Self {
        self.until = Some(end);
        self
    }

    /// When its credential ends. `None` means never.
    pub const fn end(&self) -> Option<SystemTime> {
        self.until
    }

    /// Its name in audit records.
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

    /// Fails if the principal may not act for the user and the organization of a request.
    pub(crate) fn check(&self, user_id: &str, organization_id: &str) -> Result<(), Status> {
        if !self.may_act_for(user_id) {
            return Err(Status::permission_denied("the caller may not act for user_id"));
        }
        let organization =
            organization_id.is_empty() || self.organizations.is_none() || self.belongs_to(organization_id);
        organization
            .then_some(())
            .ok_or_else(|| Status::permission_denied("the caller may not act for organization_id"))
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
