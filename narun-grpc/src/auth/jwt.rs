mod claims;
mod keys;

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, decode, decode_header};
use serde::Deserialize;
use tonic::Status;

pub use self::claims::RequiredClaims;
pub use self::keys::JwtKeyError;
use self::keys::{Key, Keys};
use super::{AuthRequest, Authenticator, Principal};

/// Authenticates callers by a JSON Web Token (RFC 7519), sent as a bearer token.
///
/// A signature is checked with a key and the algorithm of that key. If both the token and a key have a key id (`kid`),
/// they must be equal. `sub` (the user), `exp` and the [`RequiredClaims`] are required; `exp` and `nbf` have a leeway of
/// 30 s. `organization_id` or `org_id` is the user's organization, `org_ids` are several. A gRPC stream ends at `exp`.
///
/// It uses the cryptography of jsonwebtoken 10 in the program: that of its feature `aws_lc_rs`, which the feature
/// `jwt-aws-lc-rs` of this crate turns on, or the one that the program installs. Its feature `rust_crypto` depends on the
/// crate `rsa`, which leaks keys through timing (RUSTSEC-2023-0071).
///
/// # Panics
///
/// The constructors panic if jsonwebtoken has no cryptography, or cannot choose between two.
///
/// ```
/// use narun_grpc::auth::{JsonWebTokens, RequiredClaims};
///
/// let claims = RequiredClaims::new("https://login.example.com", "nats");
/// let tokens = JsonWebTokens::hs256(b"a secret of 32 bytes or more, please", claims);
/// ```
#[derive(Clone)]
#[must_use]
pub struct JsonWebTokens {
    keys: Keys,
    claims: RequiredClaims,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(alias = "org_id")]
    organization_id: Option<String>,
    #[serde(default)]
    org_ids: Vec<String>,
}

impl JsonWebTokens {
    /// Accepts tokens signed with this secret (HS256). Everyone who knows it can make tokens.
    pub fn hs256(secret: &[u8], claims: RequiredClaims) -> Self {
        Self::of(Key::new(DecodingKey::from_secret(secret), Algorithm::HS256), claims)
    }

    /// Accepts tokens signed with the private key of this RSA public key, in PEM (RS256).
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`] if the key is invalid.
    pub fn rs256(pem: &[u8], claims: RequiredClaims) -> Result<Self, JwtKeyError> {
        Ok(Self::of(Key::new(DecodingKey::from_rsa_pem(pem)?, Algorithm::RS256), claims))
    }

    /// Accepts tokens signed with the private key of this P-256 public key, in PEM (ES256).
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`] if the key is invalid.
    pub fn es256(pem: &[u8], claims: RequiredClaims) -> Result<Self, JwtKeyError> {
        Ok(Self::of(Key::new(DecodingKey::from_ec_pem(pem)?, Algorithm::ES256), claims))
    }

    /// Accepts tokens of all keys of a JSON Web Key Set (RFC 7517): RSA keys (RS256), P-256 keys (ES256) and secrets
    /// (HS256). Other keys of the set are ignored.
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`] if there is no such key.
    pub fn jwks(json: &[u8], claims: RequiredClaims) -> Result<Self, JwtKeyError> {
        Ok(Self { keys: Keys::set(json)?, claims })
    }

    /// As [`jwks`](Self::jwks), with the set in a file, which is read again every 10 s, or after 1 s if a token names
    /// another key. To replace a key, keep the old one in the file until its tokens have expired. While the file is
    /// invalid, the keys before it stay.
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`] if the file cannot be read, or has no such key.
    pub fn jwks_file(path: impl AsRef<Path>, claims: RequiredClaims) -> Result<Self, JwtKeyError> {
        Ok(Self { keys: Keys::file(path.as_ref())?, claims })
    }

    fn of(key: Key, claims: RequiredClaims) -> Self {
        Self { keys: Keys::one(key), claims }
    }

    /// The claims of a token that one of the keys has signed.
    async fn verify(&self, token: &str) -> Result<Claims, Error> {
        let header = decode_header(token)?;
        let mut error = Error::from(ErrorKind::InvalidSignature);
        for key in &*self.keys.current(&header).await {
            if !key.may_have_signed(&header) {
                continue;
            }
            match decode(token, &key.key, &self.claims.validation(key.algorithm)) {
                Ok(token) => return Ok(token.claims),
                Err(found) if *found.kind() == ErrorKind::InvalidSignature => {}
                Err(found) => error = found,
            }
        }
        Err(error)
    }
}

impl fmt::Debug for JsonWebTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonWebTokens").field("claims", &self.claims).finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl Authenticator for JsonWebTokens {
    async fn authenticate(&self, request: &AuthRequest<'_>) -> Result<Principal, Status> {
        let token = request.bearer().ok_or_else(|| Status::unauthenticated("no bearer token"))?;
        let claims = self.verify(token).await.map_err(|error| {
            Status::unauthenticated(match error.kind() {
                ErrorKind::ExpiredSignature => "the bearer token has expired",
                ErrorKind::ImmatureSignature => "the bearer token is not valid yet",
                _ => "the bearer token is invalid",
            })
        })?;
        let mut principal = Principal::user(claims.sub);
        // A time that is out of range is as good as never.
        let end = Duration::try_from_secs_f64(claims.exp).ok();
        if let Some(end) = end.and_then(|end| SystemTime::UNIX_EPOCH.checked_add(end)) {
            principal = principal.until(end);
        }
        let organizations = claims.organization_id.into_iter().chain(claims.org_ids);
        Ok(organizations.fold(principal, Principal::organization))
    }

    fn reads_ids(&self) -> bool {
        false
    }
}
