use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use tonic::Status;

use super::{AuthRequest, Authenticator, Principal};

/// Authenticates callers by a JSON Web Token, sent as a bearer token.
///
/// Signatures are checked with one key and algorithm, whatever the token's header names. `sub` (the user) and `exp` are
/// required; `exp` and `nbf` have a leeway of 30 s. `organization_id` or `org_id` is the user's organization, `org_ids`
/// are several.
///
/// It uses the cryptography of jsonwebtoken 10 in the program: that of its feature `rust_crypto` or `aws_lc_rs`, which the
/// features `jwt-rust-crypto` and `jwt-aws-lc-rs` of this crate turn on, or the one that the program installs. Enable one of
/// them, not both.
///
/// # Panics
///
/// The constructors panic if jsonwebtoken has no cryptography, or cannot choose between two.
///
/// ```
/// use narun_grpc::auth::JsonWebTokens;
///
/// let tokens = JsonWebTokens::hs256(b"a secret of 32 bytes or more, please").issuer("https://login.example.com");
/// ```
#[derive(Clone)]
#[must_use]
pub struct JsonWebTokens {
    key: DecodingKey,
    validation: Validation,
}

/// A public key is invalid.
#[derive(Debug, thiserror::Error)]
#[error("invalid public key")]
pub struct JwtKeyError(#[source] jsonwebtoken::errors::Error);

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(alias = "org_id")]
    organization_id: Option<String>,
    #[serde(default)]
    org_ids: Vec<String>,
}

impl JsonWebTokens {
    /// Accepts tokens signed with this secret (HS256). Everyone who knows it can make tokens.
    pub fn hs256(secret: &[u8]) -> Self {
        Self::new(DecodingKey::from_secret(secret), Algorithm::HS256)
    }

    /// Accepts tokens signed with the private key of this RSA public key, in PEM (RS256).
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`] if the key is invalid.
    pub fn rs256(pem: &[u8]) -> Result<Self, JwtKeyError> {
        Ok(Self::new(DecodingKey::from_rsa_pem(pem).map_err(JwtKeyError)?, Algorithm::RS256))
    }

    /// Accepts tokens signed with the private key of this P-256 public key, in PEM (ES256).
    ///
    /// # Errors
    ///
    /// [`JwtKeyError`] if the key is invalid.
    pub fn es256(pem: &[u8]) -> Result<Self, JwtKeyError> {
        Ok(Self::new(DecodingKey::from_ec_pem(pem).map_err(JwtKeyError)?, Algorithm::ES256))
    }

    fn new(key: DecodingKey, algorithm: Algorithm) -> Self {
        // Panics if there is no cryptography. Otherwise the first call would, in its task.
        let _ = jsonwebtoken::crypto::verify("", &[], &key, algorithm);
        let mut validation = Validation::new(algorithm);
        validation.leeway = 30;
        validation.validate_nbf = true;
        // Without an audience set, tokens may have any.
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        Self { key, validation }
    }

    /// Requires this issuer (`iss`). Default: any.
    pub fn issuer(mut self, issuer: impl AsRef<str>) -> Self {
        self.validation.set_issuer(&[issuer.as_ref()]);
        self.validation.required_spec_claims.insert("iss".to_owned());
        self
    }

    /// Requires this audience (`aud`). Default: any.
    pub fn audience(mut self, audience: impl AsRef<str>) -> Self {
        self.validation.set_audience(&[audience.as_ref()]);
        self.validation.validate_aud = true;
        self.validation.required_spec_claims.insert("aud".to_owned());
        self
    }
}

impl fmt::Debug for JsonWebTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonWebTokens")
            .field("algorithms", &self.validation.algorithms)
            .finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl Authenticator for JsonWebTokens {
    async fn authenticate(&self, request: &AuthRequest<'_>) -> Result<Principal, Status> {
        let token = request.bearer().ok_or_else(|| Status::unauthenticated("no bearer token"))?;
        let claims = decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| {
                Status::unauthenticated(match error.kind() {
                    ErrorKind::ExpiredSignature => "the bearer token has expired",
                    ErrorKind::ImmatureSignature => "the bearer token is not valid yet",
                    _ => "the bearer token is invalid",
                })
            })?
            .claims;
        let organizations = claims.organization_id.into_iter().chain(claims.org_ids);
        Ok(organizations.fold(Principal::user(claims.sub), Principal::organization))
    }
}
