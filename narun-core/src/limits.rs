/// What is accepted of a peer, checked before anything is allocated for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a frame's head (everything but the body). Default 65,536.
    pub head: usize,
    /// Fields in a head, trailers counted apart. Default 256.
    pub fields: usize,
    /// Bytes of a request target. Default 8,192.
    pub target: usize,
    /// Bytes of a whole frame that carries the first part of a body, the inline limit. Default 65,536.
    pub frame: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 64 * 1024, fields: 256, target: 8 * 1024, frame: 64 * 1024 }
    }
}
