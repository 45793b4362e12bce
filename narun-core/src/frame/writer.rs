//! Writing CBOR.
