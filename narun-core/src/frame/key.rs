//! The keys of heads. Keys up to 7 mean the same in every frame.

pub(super) const VERSION: u8 = 0;
pub(super) const FEATURES: u8 = 1;
pub(super) const FIELDS: u8 = 2;
pub(super) const END: u8 = 3;
pub(super) const TRAILERS: u8 = 4;
pub(super) const CREDIT: u8 = 5;
pub(super) const MAX_PAYLOAD: u8 = 6;

/// Keys of a REQUEST only.
pub(super) mod request {
    pub(crate) const ID: u8 = 8;
    pub(crate) const ATTEMPT: u8 = 9;
    pub(crate) const METHOD: u8 = 10;
    pub(crate) const TARGET: u8 = 11;
    pub(crate) const AUTHORITY: u8 = 12;
    pub(crate) const SCHEME: u8 = 13;
    pub(crate) const HTTP_VERSION: u8 = 14;
    pub(crate) const PEER: u8 = 15;
    pub(crate) const HEAD_MS: u8 = 16;
    pub(crate) const TOTAL_MS: u8 = 17;
    pub(crate) const OBJECT: u8 = 18;
    pub(crate) const OUTCOME: u8 = 19;
}

/// Keys of a RESPONSE only.
pub(super) mod response {
    pub(crate) const STATUS: u8 = 8;
}

/// The same in RESPONSE, ACCEPT and WORKING.
pub(super) const INSTANCE: u8 = 9;

/// Keys of DATA only.
pub(super) mod data {
    pub(crate) const SEQUENCE: u8 = 8;
}

/// Keys of CREDIT only.
pub(super) mod credit {
    pub(crate) const STOP: u8 = 8;
    pub(crate) const SENT: u8 = 9;
}

/// Keys of RESET only.
pub(super) mod reset {
    pub(crate) const CODE: u8 = 8;
    pub(crate) const TEXT: u8 = 9;
    pub(crate) const RAN: u8 = 10;
}

/// Keys of REFUSED only.
pub(super) mod refused {
    pub(crate) const REASON: u8 = 8;
    pub(crate) const RETRY_AFTER: u8 = 9;
    pub(crate) const VERSIONS: u8 = 10;
}
