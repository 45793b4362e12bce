use data_encoding::BASE64URL_NOPAD;

/// A token that nobody can guess.
pub(crate) fn token() -> String {
    BASE64URL_NOPAD.encode(&rand::random::<[u8; 16]>())
}
