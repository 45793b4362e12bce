/// The version of the protocol that this crate prefers.
pub const VERSION: u16 = 1;

/// All versions of the protocol that this crate supports, the preferred one first.
pub const VERSIONS: &[u16] = &[VERSION];

/// The kind of a frame, its first element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Gateway to app: the HTTP request.
    Request = 1,
    /// Consumer to gateway: the HTTP response.
    Response = 2,
    /// Consumer to gateway: send the rest of the request's body.
    Accept = 3,
    /// Both ways: a part of a body.
    Data = 4,
    /// Both ways: the offset up to which the peer may send.
    Credit = 5,
    /// Both ways: the exchange is over.
    Reset = 6,
    /// Both ways: are you there? The response is CREDIT.
    Probe = 7,
    /// Consumer to gateway: the request is queued or running.
    Working = 8,
    /// Consumer to gateway: the request was not executed, and may be sent again.
    Refused = 9,
}

impl Kind {
    pub(super) const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Accept,
            4 => Self::Data,
            5 => Self::Credit,
            6 => Self::Reset,
            7 => Self::Probe,
            8 => Self::Working,
            9 => Self::Refused,
            _ => return None,
        })
    }
}
