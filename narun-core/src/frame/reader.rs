//! Reading CBOR.
