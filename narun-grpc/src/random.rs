use data_encoding::BASE64URL_NOPAD;

/// An unguessable token of 128 random bits.
pub(crate) fn token() -> String {
    BASE64URL_NOPAD.encode(&rand::random::<[u8; 16]>())
}
