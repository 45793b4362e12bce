use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    found: Mutex<(Arc<[Key]>, Instant)>,
    /// Held while the file is read, also if the call that began it is cancelled.
    reading: Arc<tokio::sync::Mutex<()>>,
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
        let found = Mutex::new((read(path)?, Instant::now()));
        Ok(Self::File(Arc::new(KeyFile { path: path.to_owned(), found, reading: Arc::default() })))
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
        let keys = match self.fresh(header) {
            Ok(keys) => return keys,
            Err(keys) => keys,
        };
        let reading = self.reading.clone();
        let reading = match keys.iter().any(|key| key.may_have_signed(header)) {
            // While another call reads the file, the keys that are there do.
            true => match reading.try_lock_owned() {
                Ok(reading) => reading,
                Err(_) => return keys,
            },
            false => reading.lock_owned().await,
        };
        // Another call may just have read it.
        if let Ok(keys) = self.fresh(header) {
            return keys;
        }
        let file = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            file.read_again();
            drop(reading);
        });
        // An error means that the runtime ends.
        let _ = read.await;
        self.found().0.clone()
    }

    /// The keys: an error if the file is to be read again for a token with this header.
    fn fresh(&self, header: &Header) -> Result<Arc<[Key]>, Arc<[Key]>> {
        let (keys, read) = self.found().clone();
        let is_known = keys.iter().any(|key| key.may_have_signed(header));
        if read.elapsed() < if is_known { EVERY } else { SOON } { Ok(keys) } else { Err(keys) }
    }

    /// Blocks.
    fn read_again(&self) {
        let read = read(&self.path);
        let mut found = self.found();
        found.1 = Instant::now();
        match read {
            Ok(keys) => found.0 = keys,
            Err(error) => {
                warn!(path = %self.path.display(), %error, "the key set was not read again");
            }
        }
    }

    fn found(&self) -> MutexGuard<'_, (Arc<[Key]>, Instant)> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Instant;

    use futures::FutureExt;
    use jsonwebtoken::{Algorithm, Header};
    use narun_support::testing::eventually;

    use super::{EVERY, KeyFile, Keys};

    fn write(path: &Path, id: &str) {
        let set = format!(r#"{{"keys":[{{"kty":"oct","alg":"HS256","kid":"{id}","k":"c2VjcmV0"}}]}}"#);
        std::fs::write(path, set).unwrap();
    }

    fn header(id: &str) -> Header {
        Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) }
    }

    fn has(file: &KeyFile, id: &str) -> bool {
        file.found().0.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// A file that was read long ago, and has changed meanwhile.
    fn changed(path: &Path) -> Arc<KeyFile> {
        write(path, "old");
        let Keys::File(file) = Keys::file(path).unwrap() else { panic!("no file") };
        file.found().1 = Instant::now().checked_sub(EVERY).unwrap();
        write(path, "new");
        file
    }

    #[tokio::test]
    async fn a_cancelled_call_reads_the_file_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let file = changed(&directory.path().join("jwks.json"));
        // Polled once, and dropped.
        let _ = file.current(&header("old")).now_or_never();
        eventually("the new key", async || has(&file, "new")).await;
        assert!(!has(&file, "old"));
    }

    #[tokio::test]
    async fn tokens_of_a_new_key_wait_while_the_file_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = changed(&directory.path().join("jwks.json"));
        let reading = file.reading.clone().lock_owned().await;
        let (old, new) = (header("old"), header("new"));
        let mut waiting = pin!(file.current(&new));
        assert!(waiting.as_mut().now_or_never().is_none());
        // Others do not.
        assert_eq!(file.current(&old).now_or_never().unwrap()[0].id.as_deref(), Some("old"));
        drop(reading);
        assert_eq!(waiting.await[0].id.as_deref(), Some("new"));
    }
}
