use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;

/// The identity of an exchange: 128 bits, random or derived from an `Idempotency-Key`.
///
/// Its text form is 26 lower-case base32 characters (RFC 4648, section 6, without padding). It is valid as a NATS token,
/// a NATS message id and an HTTP field value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId([u8; 16]);

impl ExchangeId {
    /// Creates an id from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 26];
        BASE32_NOPAD.encode_mut(&self.0, &mut text);
        text.make_ascii_lowercase();
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExchangeId({self})")
    }
}

impl FromStr for ExchangeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        if text.len() != 26 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ParseIdError);
        }
        let mut bytes = [0; 16];
        match BASE32_NOPAD.decode_mut(text.to_ascii_uppercase().as_bytes(), &mut bytes) {
            Ok(16) => Ok(Self(bytes)),
            _ => Err(ParseIdError),
        }
    }
}

/// The error of parsing an [`ExchangeId`]: the text is not 26 lower-case base32 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an exchange id is 26 lower-case base32 characters")]
pub struct ParseIdError;
