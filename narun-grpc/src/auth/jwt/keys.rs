use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use serde::Deserialize;
use serde_json::Value;
use tracing::warn;

/// How often a file is read, and how soon if a token names another key.
const EVERY: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(1);

/// A key is invalid, or there is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JwtKeyError {
    /// The public key is invalid.
    #[error("invalid public key")]
    Key(#[source] jsonwebtoken::errors::Error),
    /// The key set is no JSON.
    #[error("invalid key set")]
    Set(#[source] serde_json::Error),
    /// The key set has no key for RS256, ES256 or HS256.
    #[error("no key for RS256, ES256 or HS256")]
    None,
    /// The file cannot be read.
    #[error("unreadable key set")]
    File(#[source] io::Error),
}

/// A key, and the algorithm that it is used with.
pub(super) struct Key {
    id: Option<String>,
    pub(super) key: DecodingKey,
    pub(super) algorithm: Algorithm,
}

#[derive(Clone)]
pub(super) enum Keys {
    Fixed(Arc<[Key]>),
    File(Arc<KeyFile>),
}

pub(super) struct KeyFile {
    path: PathBuf,
    /// The keys, and when the file was read.
    read: Mutex<(Arc<[Key]>, Instant)>,
}

impl From<jsonwebtoken::errors::Error> for JwtKeyError {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        Self::Key(error)
    }
}

impl Key {
    pub(super) fn new(key: DecodingKey, algorithm: Algorithm) -> Self {
        // Panics if there is no cryptography. Otherwise the first call would, in its task.
        let _ = jsonwebtoken::crypto::verify("", &[], &key, algorithm);
        Self { id: None, key, algorithm }
    }

    /// Returns `None` if the key is for something else.
    fn of(jwk: &Jwk) -> Option<Self> {
        let (algorithm, name) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKey(_) => (Algorithm::HS256, KeyAlgorithm::HS256),
            _ => return None,
        };
        let common = &jwk.common;
        let is_other = common.key_algorithm.is_some_and(|named| named != name)
            || common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature);
        let key = DecodingKey::from_jwk(jwk).ok().filter(|_| !is_other)?;
        Some(Self { id: common.key_id.clone(), ..Self::new(key, algorithm) })
    }

    /// Whether a token with this header may be of this key.
    pub(super) fn may_have_signed(&self, header: &Header) -> bool {
        let is_other = matches!((&self.id, &header.kid), (Some(own), Some(named)) if own != named);
        self.algorithm == header.alg && !is_other
    }
}

impl Keys {
    pub(super) fn one(key: Key) -> Self {
        Self::Fixed([key].into())
    }

    pub(super) fn set(json: &[u8]) -> Result<Self, JwtKeyError> {
        Ok(Self::Fixed(parse(json)?))
    }

    pub(super) fn file(path: &Path) -> Result<Self, JwtKeyError> {
        let keys = read(path)?;
        Ok(Self::File(Arc::new(KeyFile { path: path.to_owned(), read: Mutex::new((keys, Instant::now())) })))
    }

    /// The keys, of which one may have signed a token with this header.
    pub(super) async fn current(&self, header: &Header) -> Arc<[Key]> {
        match self {
            Self::Fixed(keys) => keys.clone(),
            Self::File(file) => file.current(header).await,
        }
    }
}

impl KeyFile {
    async fn current(self: &Arc<Self>, header: &Header) -> Arc<[Key]> {
        let keys = {
            let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            let is_known = read.0.iter().any(|key| key.may_have_signed(header));
            if read.1.elapsed() < if is_known { EVERY } else { SOON } {
                return read.0.clone();
            }
            // Other calls use the keys that are there.
            read.1 = Instant::now();
            read.0.clone()
        };
        let file = self.clone();
        let found = match tokio::task::spawn_blocking(move || read(&file.path)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                warn!(path = %self.path.display(), %error, "the key set was not read again");
                return keys;
            }
            Err(_) => return keys,
        };
        self.read.lock().unwrap_or_else(PoisonError::into_inner).0 = found.clone();
        found
    }
}

fn read(path: &Path) -> Result<Arc<[Key]>, JwtKeyError> {
    parse(&std::fs::read(path).map_err(JwtKeyError::File)?)
}

/// The usable keys of a set.
fn parse(json: &[u8]) -> Result<Arc<[Key]>, JwtKeyError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let Set { keys } = serde_json::from_slice(json).map_err(JwtKeyError::Set)?;
    let keys = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
    let keys: Arc<[Key]> = keys.filter_map(|key: Jwk| Key::of(&key)).collect();
    if keys.is_empty() { Err(JwtKeyError::None) } else { Ok(keys) }
}
