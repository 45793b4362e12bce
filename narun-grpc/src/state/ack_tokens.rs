use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The longest subject in a token, in bytes: twice what the longest names take.
const LONGEST: usize = 2048;

/// The length of the authentication code, in bytes.
const CODE: usize = 32;

/// Makes and verifies acknowledgement tokens: the reply subject of a message, and a code over it and the NATS names of
/// stream and consumer. The stream's name has the tenant in it.
pub(crate) struct AckTokens(Hmac<Sha256>);

impl AckTokens {
    pub(crate) fn new(key: Option<Vec<u8>>) -> Self {
        let key = key.unwrap_or_else(|| rand::random::<[u8; 32]>().into());
        // HMAC takes a key of any length.
        Self(<Hmac<Sha256> as Mac>::new_from_slice(&key).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    pub(crate) fn issue(&self, stream: &str, consumer: &str, subject: &str) -> String {
        let code = self.code(stream, consumer, subject).finalize().into_bytes();
        BASE64URL_NOPAD.encode(&[code.as_slice(), subject.as_bytes()].concat())
    }

    /// The subject in a token. Returns `None` if the token is not of this stream and consumer.
    pub(crate) fn subject(&self, stream: &str, consumer: &str, token: &str) -> Option<String> {
        if token.is_empty() || token.len() > LONGEST * 2 {
            return None;
        }
        let token = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (code, subject) = token.split_at_checked(CODE)?;
        let subject = std::str::from_utf8(subject).ok()?;
        self.code(stream, consumer, subject).verify_slice(code).ok()?;
        Some(subject.to_owned())
    }

    fn code(&self, stream: &str, consumer: &str, subject: &str) -> Hmac<Sha256> {
        // No name has a NUL.
        self.0
            .clone()
            .chain_update(stream)
            .chain_update([0])
            .chain_update(consumer)
            .chain_update([0])
            .chain_update(subject)
    }
}

impl fmt::Debug for AckTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckTokens(…)")
    }
}

/// The stream sequence in the reply subject of a message.
pub(crate) fn stream_sequence(subject: &str) -> Option<u64> {
    let tokens: Vec<_> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
    // The longer form begins with domain and account hash, and may have another token at the end.
    tokens.get(if tokens.len() > 7 { 5 } else { 3 })?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{AckTokens, stream_sequence};

    #[test]
    fn tokens_are_bound_to_stream_and_consumer() {
        let (tokens, other) = (AckTokens::new(None), AckTokens::new(None));
        let subject = "$JS.ACK.s.c.1.2.3.4.5";
        let token = tokens.issue("s", "c", subject);
        assert_eq!(tokens.subject("s", "c", &token).as_deref(), Some(subject));
        assert_eq!(tokens.subject("s", "d", &token), None);
        assert_eq!(tokens.subject("t", "c", &token), None);
        assert_eq!(other.subject("s", "c", &token), None);
        assert_eq!(tokens.subject("s", "c", &token[1..]), None);
        assert_eq!(tokens.subject("s", "c", &format!("{token}A")), None);
        assert_eq!(tokens.subject("s", "c", ""), None);
        let (one, two) = (AckTokens::new(Some(b"key".to_vec())), AckTokens::new(Some(b"key".to_vec())));
        assert!(two.subject("s", "c", &one.issue("s", "c", subject)).is_some());
    }

    #[test]
    fn sequences_are_read_from_both_forms() {
        assert_eq!(stream_sequence("$JS.ACK.s.c.1.2.3.4.5"), Some(2));
        assert_eq!(stream_sequence("$JS.ACK._.hash.s.c.1.2.3.4.5"), Some(2));
        assert_eq!(stream_sequence("$JS.ACK._.hash.s.c.1.2.3.4.5.random"), Some(2));
        assert_eq!(stream_sequence("$JS.ACK.s.c"), None);
        assert_eq!(stream_sequence("other"), None);
    }
}
