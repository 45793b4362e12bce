use jsonwebtoken::{Algorithm, Validation};

/// How much clocks may differ, in seconds.
const LEEWAY: u64 = 30;

/// Who must have issued a token, and for whom: a token that the same issuer made for another service is refused.
#[derive(Clone, Debug)]
#[must_use]
pub struct RequiredClaims {
    issuer: Option<String>,
    audience: Option<String>,
}

impl RequiredClaims {
    /// Requires this issuer (`iss`) and this audience (`aud`).
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into()), audience: Some(audience.into()) }
    }

    /// Requires this issuer, and accepts any audience: only if the issuer's tokens are all meant for this service.
    pub fn issuer(issuer: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into()), audience: None }
    }

    /// Requires this audience, and accepts any issuer that has the key.
    pub fn audience(audience: impl Into<String>) -> Self {
        Self { issuer: None, audience: Some(audience.into()) }
    }

    /// Accepts any issuer and audience: only if the key signs nothing else.
    pub const fn any() -> Self {
        Self { issuer: None, audience: None }
    }

    pub(super) fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        // Without an audience set, tokens may have any.
        validation.validate_aud = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            validation.validate_aud = true;
            validation.required_spec_claims.insert("aud".to_owned());
        }
        validation
    }
}
