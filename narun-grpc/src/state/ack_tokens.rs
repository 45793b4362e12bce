use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The longest subject in a token, in bytes: twice what the longest names take.
const LONGEST: usize = 2048;

/// The length of the authentication code, in bytes.
const CODE: usize = 32;

/// Makes and verifies acknowledgement tokens: a code over the reply subject of a message and the NATS names of stream and
/// consumer, and the subject without these names. The stream's name has the tenant in it.
pub(crate) struct AckTokens(Hmac<Sha256>);

impl AckTokens {
    pub(crate) fn new(key: &[u8]) -> Self {
        // HMAC takes a key of any length.
        Self(<Hmac<Sha256> as Mac>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default())))
    }

    pub(crate) fn issue(&self, stream: &str, consumer: &str, subject: &str) -> String {
        let code = self.code(stream, consumer, subject).finalize().into_bytes();
        let (before, after) = subject.split_once(&names(stream, consumer)).unwrap_or((subject, ""));
        BASE64URL_NOPAD.encode(&[&code, before.as_bytes(), &[0], after.as_bytes()].concat())
    }

    /// The subject in a token. Returns `None` if the token is not of this stream and consumer.
    pub(crate) fn subject(&self, stream: &str, consumer: &str, token: &str) -> Option<String> {
        if token.is_empty() || token.len() > LONGEST * 2 {
            return None;
        }
        let token = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (code, subject) = token.split_at_checked(CODE)?;
        let (before, after) = std::str::from_utf8(subject).ok()?.split_once('\0')?;
        let subject = format!("{before}{}{after}", names(stream, consumer));
        self.code(stream, consumer, &subject).verify_slice(code).ok()?;
        Some(subject)
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

fn names(stream: &str, consumer: &str) -> String {
    format!(".{stream}.{consumer}.")
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
    use data_encoding::BASE64URL_NOPAD;

    use super::{AckTokens, stream_sequence};

    #[test]
    fn tokens_are_bound_to_stream_and_consumer() {
        let (tokens, other) = (AckTokens::new(b"a"), AckTokens::new(b"b"));
        let subject = "$JS.ACK.s.c.1.2.3.4.5";
        let token = tokens.issue("s", "c", subject);
        assert_eq!(tokens.subject("s", "c", &token).as_deref(), Some(subject));
        assert_eq!(tokens.subject("s", "d", &token), None);
        assert_eq!(tokens.subject("t", "c", &token), None);
        assert_eq!(other.subject("s", "c", &token), None);
        assert_eq!(tokens.subject("s", "c", &token[1..]), None);
        assert_eq!(tokens.subject("s", "c", &format!("{token}A")), None);
        assert_eq!(tokens.subject("s", "c", ""), None);
        let (one, two) = (AckTokens::new(b"key"), AckTokens::new(b"key"));
        assert!(two.subject("s", "c", &one.issue("s", "c", subject)).is_some());
    }

    #[test]
    fn a_token_has_no_names_in_it() {
        let tokens = AckTokens::new(b"key");
        for subject in ["$JS.ACK.user-ann-s.c.1.2.3.4.5", "$JS.ACK._.hash.user-ann-s.c.1.2.3.4.5.random"] {
            let token = tokens.issue("user-ann-s", "c", subject);
            let shown = BASE64URL_NOPAD.decode(token.as_bytes()).unwrap();
            assert!(!String::from_utf8_lossy(&shown).contains("ann"), "{shown:?}");
            assert_eq!(tokens.subject("user-ann-s", "c", &token).as_deref(), Some(subject));
        }
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
