use std::fmt::Write;

/// Escapes a key for NATS.
///
/// `[A-Za-z0-9/=-]` stay as they are, and so do dots between two other characters. Every other byte becomes `_hh`, its
/// two lower-case hexadecimal digits. No two keys have the same escaped form.
pub(super) fn escape_key(key: &str) -> String {
    let bytes = key.as_bytes();
    let mut escaped = String::with_capacity(key.len());
    for (index, byte) in bytes.iter().enumerate() {
        let lone_dot = || {
            let is_other = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'.');
            is_other(index.checked_sub(1).and_then(|before| bytes.get(before)))
                && is_other(bytes.get(index + 1))
        };
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'=' | b'-' => escaped.push(char::from(*byte)),
            b'.' if lone_dot() => escaped.push('.'),
            // Writing to a `String` does not fail.
            _ => drop(write!(escaped, "_{byte:02x}")),
        }
    }
    escaped
}

/// The key with this escaped form. Returns `None` if there is no such key.
pub(super) fn unescape_key(escaped: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut key, mut rest) = (Vec::with_capacity(escaped.len()), escaped.bytes());
    while let Some(byte) = rest.next() {
        key.push(match byte {
            b'_' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(key).ok().filter(|key| escape_key(key) == escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{escape_key, unescape_key};

    proptest! {
        #[test]
        fn escaping_is_reversible_and_gives_valid_nats_keys(key in any::<String>()) {
            let escaped = escape_key(&key);
            prop_assert!(escaped.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-/_=.".contains(&byte)));
            prop_assert_eq!(unescape_key(&escaped), Some(key));
        }

        #[test]
        fn no_token_is_empty(key in "[a.]{1,8}") {
            let escaped = escape_key(&key);
            prop_assert!(escaped.split('.').all(|token| !token.is_empty()), "{escaped}");
            prop_assert_eq!(unescape_key(&escaped), Some(key));
        }

        #[test]
        fn unescaping_accepts_escaped_keys_only(escaped in "[a-f0-9_.]{0,10}") {
            if let Some(key) = unescape_key(&escaped) {
                prop_assert_eq!(escape_key(&key), escaped);
            }
        }
    }

    #[test]
    fn plain_keys_stay_as_they_are() {
        for key in ["config.db/host", "A=b-c", "1"] {
            assert_eq!(escape_key(key), key);
        }
        assert_eq!(escape_key("a..b"), "a_2e_2eb");
        assert_eq!(escape_key("*"), "_2a");
        assert_eq!(escape_key("ä_"), "_c3_a4_5f");
    }
}
