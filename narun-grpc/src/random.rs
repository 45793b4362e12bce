use async_nats::Client;
use data_encoding::BASE64URL_NOPAD;

/// An inbox that nobody can guess, below the client's prefix. The client's own are unguessable until one is known: the
/// next ones follow from it.
pub(crate) fn inbox(client: &Client) -> String {
    format!("{}.{}", client.new_inbox(), token())
}

/// An unguessable token of 128 random bits.
pub(crate) fn token() -> String {
    BASE64URL_NOPAD.encode(&rand::random::<[u8; 16]>())
}
