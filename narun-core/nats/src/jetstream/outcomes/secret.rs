//! The secret of a namespace, from which the ids of requests with an `Idempotency-Key` are derived.
//!
//! It is a value of the bucket of outcomes, under a key that no id has: the first process that needs it makes it, and all
//! others read it. The bucket deletes old values, so whoever knows the secret writes it again in time.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | version: 1 |
//! | 32 | the secret |

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use narun_core::{App, ExchangeId, Namespace};
use sha2::Sha256;
use tokio::time::Instant;

use super::{ATTEMPTS, OutcomeError, OutcomeStore, expecting};
use crate::jetstream::digest::for_each_part;

/// The key of the value.
const KEY: &str = "secret";
const VERSION: u8 = 1;
const LEN: usize = 32;

/// The secret is written again once it has been there for this part of the outcomes' time to live: 5 minutes of 24 hours. An
/// outcome whose id depends on it may outlive it by that much, if no process is left to write it again.
const RENEWALS: u32 = 288;
/// How often to check that the secret is there, at least.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// The shortest pause between two checks, unless an eighth of the time to live is shorter.
const PAUSE: Duration = Duration::from_secs(5);
/// The shortest pause in any case.
const SHORTEST: Duration = Duration::from_millis(100);

/// The secret of a namespace. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret([u8; LEN]);

/// A secret as it was last seen in the bucket.
#[derive(Clone, Debug)]
struct StoredSecret {
    secret: KeySecret,
    revision: u64,
    /// When this process saw this revision first.
    since: Instant,
    /// Whether it was written about then. A process that starts does not know that.
    is_dated: bool,
}

/// The secret as a process knows it.
#[derive(Debug, Default)]
pub(super) struct KnownSecret(Mutex<Option<StoredSecret>>);

/// How often [`OutcomeStore::keep_secret`] must be called if outcomes are kept for `ttl`.
pub(in crate::jetstream) fn check_every(ttl: Duration) -> Duration {
    (ttl / RENEWALS / 2).clamp((ttl / 8).clamp(SHORTEST, PAUSE), CHECK_EVERY)
}

impl KeySecret {
    /// A random secret.
    fn random() -> Self {
        Self(rand::random())
    }

    /// The id of a request with an `Idempotency-Key`: the first 16 bytes of HMAC-SHA-256, under this secret, of stream, app,
    /// caller scope and key. Without the secret, nobody can compute it from the key.
    pub fn id(&self, namespace: &Namespace, app: &App, scope: Option<&[u8; 32]>, key: &[u8]) -> ExchangeId {
        let scope = scope.map_or(&[][..], |scope| scope);
        // HMAC pads a shorter key with zeros to the length of a block (RFC 2104, section 2).
        let mut block = [0; 64];
        block[..LEN].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        let parts = [b"narun key", namespace.as_str().as_bytes(), app.as_str().as_bytes(), scope, key];
        for_each_part(&parts, |bytes| mac.update(bytes));
        let mac: [u8; 32] = mac.finalize().into_bytes().into();
        let mut id = [0; 16];
        id.copy_from_slice(&mac[..16]);
        ExchangeId::from_bytes(id)
    }

    fn encode(&self) -> Bytes {
        Bytes::from([&[VERSION][..], &self.0].concat())
    }

    fn decode(value: &[u8]) -> Result<Self, OutcomeError> {
        let secret = value.strip_prefix(&[VERSION]).and_then(|secret| secret.try_into().ok());
        secret.map(Self).ok_or_else(|| OutcomeError::Malformed("the secret of the namespace".to_owned()))
    }
}

impl OutcomeStore {
    /// The secret of the namespace. Asks the server the first time only, and makes the secret if there is none.
    ///
    /// Cancel safe.
    pub async fn secret(&self) -> Result<KeySecret, OutcomeError> {
        match self.known() {
            Some(known) => Ok(known.secret),
            None => Ok(self.learn(self.find_or_make(&KeySecret::random()).await?)),
        }
    }

    /// Keeps the secret in the bucket: stores it again if it would expire before the outcomes of today's requests, or if it
    /// was deleted while this process knew it. Does nothing if no process has made one.
    ///
    /// Call it at the intervals of [`TaskStreams::secret_check`](crate::jetstream::TaskStreams::secret_check), and after the
    /// bucket was declared. Cancel safe.
    pub async fn keep_secret(&self) -> Result<(), OutcomeError> {
        let found = match self.known() {
            Some(known) => self.find_or_make(&known.secret).await?,
            None => match self.find().await? {
                (_, Some(found)) => found,
                (_, None) => return Ok(()),
            },
        };
        self.learn(found);
        let Some(known) = self.known().filter(|known| self.is_due(known)) else { return Ok(()) };
        match self.write_secret(&known.secret, known.revision).await {
            Ok(written) => {
                self.learn(written);
                Ok(())
            }
            // Another process has stored it again.
            Err(OutcomeError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_due(&self, known: &StoredSecret) -> bool {
        !known.is_dated || known.since.elapsed() >= self.ttl / RENEWALS
    }

    /// The secret in the bucket, or this one, stored there if there is none.
    async fn find_or_make(&self, offered: &KeySecret) -> Result<StoredSecret, OutcomeError> {
        for _ in 0..ATTEMPTS {
            let revision = match self.find().await? {
                (_, Some(found)) => return Ok(found),
                (revision, None) => revision,
            };
            match self.write_secret(offered, revision).await {
                Err(OutcomeError::Conflict) => {}
                written => return written,
            }
        }
        Err(OutcomeError::Conflict)
    }

    /// The secret in the bucket, if there is one, after the revision of the key.
    async fn find(&self) -> Result<(u64, Option<StoredSecret>), OutcomeError> {
        let Some(stored) = self.read(KEY).await? else {
            return Ok((0, None));
        };
        let revision = stored.message.sequence;
        if stored.payload.is_empty() {
            return Ok((revision, None));
        }
        let secret = KeySecret::decode(&stored.payload)?;
        Ok((revision, Some(StoredSecret { secret, revision, since: Instant::now(), is_dated: false })))
    }

    async fn write_secret(&self, secret: &KeySecret, revision: u64) -> Result<StoredSecret, OutcomeError> {
        let since = Instant::now();
        let revision = self.write(KEY, expecting(revision), secret.encode()).await?;
        Ok(StoredSecret { secret: secret.clone(), revision, since, is_dated: true })
    }

    fn known(&self) -> Option<StoredSecret> {
        self.secret.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what is stored, and returns the secret.
    fn learn(&self, mut found: StoredSecret) -> KeySecret {
        let secret = found.secret.clone();
        let mut known = self.secret.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(known) if known.revision == found.revision && known.secret == found.secret => {}
            before => {
                if before.as_ref().is_some_and(|before| before.secret != secret) {
                    tracing::warn!(
                        bucket = self.bucket,
                        "the secret of idempotency keys was replaced: all keys are new"
                    );
                }
                // Another process has written it since the last check.
                found.is_dated |= before.is_some();
                *known = Some(found);
            }
        }
        secret
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(secret: u8, scope: Option<&[u8; 32]>, key: &[u8]) -> String {
        let (namespace, app) = (Namespace::default(), App::new("hello").unwrap());
        KeySecret([secret; LEN]).id(&namespace, &app, scope, key).to_string()
    }

    /// The expected values are those of another program, written from `spec/exchange.md`.
    #[test]
    fn ids_match_the_specification() {
        let scope = crate::jetstream::caller_scope("ann");
        assert_eq!(id(7, None, br#""k1""#), "azjj7yhmbpf4fhrht2vdxg5m3a");
        assert_eq!(id(7, Some(&scope), br#""k1""#), "ovl24qqtlvt2xccayikb4bq2x4");
    }

    #[test]
    fn ids_depend_on_every_part() {
        let ids = [
            id(7, None, b"k"),
            id(8, None, b"k"),
            id(7, Some(&[0; 32]), b"k"),
            id(7, None, b"l"),
            id(7, None, b""),
        ];
        assert!((1..ids.len()).all(|i| !ids[..i].contains(&ids[i])), "{ids:?}");
        let (namespaces, apps) = (["a", "ab"].map(Namespace::new), ["bc", "c"].map(App::new));
        let secret = KeySecret([7; LEN]);
        let [first, second] =
            [0, 1].map(|i| secret.id(namespaces[i].as_ref().unwrap(), apps[i].as_ref().unwrap(), None, b"d"));
        assert_ne!(first, second);
    }

    #[test]
    fn a_secret_has_this_layout() {
        let secret = KeySecret([7; LEN]);
        let value = secret.encode();
        assert_eq!(value, [&[1][..], &[7; 32]].concat());
        assert_eq!(KeySecret::decode(&value), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "KeySecret(..)");
        for bad in [&b""[..], &[1; 32], &[1; 34], &[2; 33]] {
            assert!(KeySecret::decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_secret_is_checked_before_it_expires() {
        assert_eq!(check_every(Duration::from_secs(24 * 3600)), CHECK_EVERY);
        assert_eq!(check_every(Duration::from_secs(5760)), Duration::from_secs(10));
        assert_eq!(check_every(Duration::from_secs(120)), PAUSE);
        assert_eq!(check_every(Duration::from_secs(8)), Duration::from_secs(1));
        assert_eq!(check_every(Duration::ZERO), SHORTEST);
    }
}
