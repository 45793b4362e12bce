use std::time::Duration;

use bytes::Bytes;

/// Send me the rest of the request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Protocol version. Default [`super::VERSION`].
    pub version: u16,
    /// A name of the process. Default none.
    pub instance: Option<String>,
    /// The largest payload that the consumer's server takes. Default 0: not known.
    pub max_payload: u64,
    /// Offset up to which the request's body may be sent.
    pub credit: u64,
}

/// How far the peer may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// Absolute offset in the body, its first byte being 0; a smaller one than before changes nothing.
    pub offset: u64,
    /// The body is no longer wanted; the other direction is not affected. Default false.
    pub stop: bool,
}

/// The exchange is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Why.
    pub code: ResetCode,
    /// A short text for people. Default empty; cut to 256 bytes when encoded.
    pub text: String,
    /// Whether the handler has run, or may have. Default true.
    pub ran: bool,
}

/// Why an exchange was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetCode {
    /// 1: the HTTP client went away, or another attempt won.
    Cancel,
    /// 2: the exchange is not known here.
    Gone,
    /// 3: more was sent than was allowed.
    Flow,
    /// 4: a frame is missing.
    Gap,
    /// 5: nothing came for too long.
    Idle,
    /// 6: a body is over a limit.
    TooLarge,
    /// 7: the time allowed is over.
    Deadline,
    /// 8: the process is stopping.
    Draining,
    /// 9: anything else.
    Internal,
    /// A code that this version does not know.
    Other(u64),
}

/// Received, and alive: queued or running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Working {
    /// Protocol version. Default [`super::VERSION`].
    pub version: u16,
    /// A name of the process. Default none.
    pub instance: Option<String>,
}

/// Not executed; safe to send again, whatever the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Refusal,
    /// When to try again; milliseconds on the wire. Default none.
    pub retry_after: Option<Duration>,
    /// The versions spoken, with [`Refusal::Version`]. At most 16.
    pub versions: Vec<u16>,
}

/// Why a request was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// 1: no slot and no place in the queue.
    Overloaded,
    /// 2: the process is stopping.
    Draining,
    /// 3: the version is not spoken here.
    Version,
    /// 4: the payload is no frame that a consumer takes.
    BadFrame,
    /// A reason that this version does not know.
    Other(u64),
}

/// Encodes a PROBE.
pub(crate) fn encode_probe() -> Bytes {
    unimplemented!()
}

impl Accept {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
}

impl Credit {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
}

impl Reset {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
}

impl Working {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
}

impl Refused {
    /// Encodes the frame.
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
}
