/// A payload that is no frame this version can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not CBOR, or not of a frame's shape: the sender does not speak this protocol.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// A kind of frame that is not known, or not the one asked for.
    #[error("unexpected frame kind {0}")]
    Kind(u64),
    /// A protocol version that is not spoken here.
    #[error("unknown protocol version {0}")]
    Version(u64),
    /// Something in the frame is larger than the limit on it.
    #[error("{what} is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes, or a count for fields.
        limit: usize,
    },
    /// A field, method, target or status that HTTP does not allow.
    #[error("invalid {0}")]
    Http(&'static str),
}

/// A message that cannot be put into a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The fields, with everything else in the head, exceed the limit: 431 for a request.
    #[error("fields are over the limit of {limit} bytes")]
    FieldsTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// There are more fields than allowed: 431 for a request.
    #[error("more than {limit} fields")]
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// The target is longer than allowed: 414.
    #[error("request target is over the limit of {limit} bytes")]
    TargetTooLong {
        /// The limit in bytes.
        limit: usize,
    },
}
