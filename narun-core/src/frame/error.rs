/// The error of decoding a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload is not CBOR, or not a frame: the sender does not use this protocol.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// The kind of the frame is unknown, or not the expected one.
    #[error("unexpected frame kind {0}")]
    Kind(u64),
    /// The protocol version is not supported. A consumer refuses a request with [`Refusal::Version`](super::Refusal).
    #[error("unknown protocol version {0}")]
    Version(u64),
    /// A part of the frame is over a limit.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// The part that is too large.
        what: &'static str,
        /// The limit in bytes, or the number of fields.
        limit: usize,
    },
    /// A field, method, target, status or another part is invalid in HTTP.
    #[error("invalid {0}")]
    Http(&'static str),
}

/// The error of encoding a request or response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The head, most of which is fields, is over the limit. Respond to a request with 431.
    #[error("fields are over the limit of {limit} bytes")]
    FieldsTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// There are more fields than allowed. Respond to a request with 431.
    #[error("more than {limit} fields")]
    TooManyFields {
        /// The largest number of fields.
        limit: usize,
    },
    /// The target or authority is longer than allowed. Respond with 414.
    #[error("request target is over the limit of {limit} bytes")]
    TargetTooLong {
        /// The limit in bytes.
        limit: usize,
    },
}
