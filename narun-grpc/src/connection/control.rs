use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::random::token;

/// How old a message may be, and how far in the future: clocks differ.
const FRESH: Duration = Duration::from_secs(30);

/// The signatures remembered, at most.
const REMEMBERED: usize = 65_536;

/// Signs messages between replicas, with a secret that they share. Other clients of the account can neither make such a
/// message nor send one again.
#[derive(Clone)]
pub(crate) struct ControlKey(Hmac<Sha256>);

/// The messages received within [`FRESH`]: the time of each in microseconds, and its signature.
#[derive(Debug, Default)]
pub(super) struct Received(BTreeSet<(u64, String)>);

/// Why a message does not count.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its sender does not have the secret.
    Forged,
    /// It was received before, or is too old or too new.
    Repeated,
}

impl ControlKey {
    /// A key made from the secret, which signs other things as well.
    pub(crate) fn new(secret: &[u8]) -> Self {
        let key = hmac(secret).chain_update("narun.grpc.control").finalize().into_bytes();
        Self(hmac(&key))
    }

    /// A message from a replica about a subject. Neither may have a space.
    pub(super) fn sign(&self, replica: &str, subject: &str) -> String {
        let signed = format!("{replica} {subject} {} {}", now(), token());
        let code = self.0.clone().chain_update(&signed).finalize().into_bytes();
        format!("{signed} {}", BASE64URL_NOPAD.encode(&code))
    }

    /// The replica and the subject of a message.
    pub(super) fn verify<'a>(
        &self,
        received: &mut Received,
        message: &'a str,
    ) -> Result<(&'a str, &'a str), Refused> {
        let (signed, signature) = message.rsplit_once(' ').ok_or(Refused::Forged)?;
        let code = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| Refused::Forged)?;
        self.0.clone().chain_update(signed).verify_slice(&code).map_err(|_| Refused::Forged)?;
        let mut parts = signed.split(' ');
        let (Some(replica), Some(subject), Some(time)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Refused::Forged);
        };
        let time = time.parse().map_err(|_| Refused::Forged)?;
        received.add(time, signature, now()).then_some((replica, subject)).ok_or(Refused::Repeated)
    }
}

impl Received {
    /// Adds a message by its signature. Returns `false` if it is there, or not fresh.
    fn add(&mut self, time: u64, signature: &str, now: u64) -> bool {
        let fresh = u64::try_from(FRESH.as_micros()).unwrap_or(u64::MAX);
        let oldest = now.saturating_sub(fresh);
        while self.0.first().is_some_and(|(time, _)| *time < oldest) || self.0.len() >= REMEMBERED {
            self.0.pop_first();
        }
        (oldest..=now.saturating_add(fresh)).contains(&time) && self.0.insert((time, signature.to_owned()))
    }
}

impl fmt::Debug for ControlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlKey(…)")
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length.
    <Hmac<Sha256> as Mac>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

/// Microseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{ControlKey, Received, Refused};

    #[test]
    fn a_message_counts_once_and_only_with_the_secret() {
        let (key, other) = (ControlKey::new(b"a"), ControlKey::new(b"b"));
        let mut received = Received::default();
        let message = key.sign("replica", "user.ann.>");
        assert_eq!(key.verify(&mut received, &message), Ok(("replica", "user.ann.>")));
        assert_eq!(key.verify(&mut received, &message), Err(Refused::Repeated));
        assert_eq!(other.verify(&mut received, &message), Err(Refused::Forged));
        for forged in ["", "a", "replica user.ann.>", &message[1..], &message.replace("ann", "bob")] {
            assert_eq!(key.verify(&mut received, forged), Err(Refused::Forged), "{forged}");
        }
        assert!(key.verify(&mut received, &key.sign("replica", "user.ann.>")).is_ok());
    }

    #[test]
    fn old_messages_and_those_of_the_future_do_not_count() {
        let mut received = Received::default();
        let now = 1_000_000_000;
        for (time, expected) in [(now, true), (now - 30_000_000, true), (now + 30_000_000, true)] {
            assert_eq!(received.add(time, "a", now), expected);
            assert!(!received.add(time, "a", now));
        }
        assert!(!received.add(now - 30_000_001, "a", now));
        assert!(!received.add(now + 30_000_001, "a", now));
        // Forgotten once it is too old to count.
        assert!(!received.add(now, "a", now + 30_000_001));
        assert_eq!(received.0.len(), 1);
    }
}
