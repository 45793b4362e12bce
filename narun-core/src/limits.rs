/// Limits on frames, checked when they are encoded, and when they are decoded before anything is allocated.
///
/// Start from `default()` and assign fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest head of a frame, which is everything but the body, in bytes. Default 65,536.
    pub head: usize,
    /// Most fields in a head, and most trailer fields. Default 256 each.
    pub fields: usize,
    /// Longest target of a request, and longest authority, in bytes. Default 8,192 each.
    pub target: usize,
    /// The inline limit: largest REQUEST, RESPONSE and DATA, in bytes. Default 65,536. Decoding checks it; encoding does not,
    /// because the caller chooses how much of a body it puts into a frame.
    pub frame: usize,
}

impl Limits {
    /// Returns the same limits for frames of durable requests, whose size only the NATS server limits.
    #[must_use]
    pub const fn stored(self) -> Self {
        Self { frame: usize::MAX, ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 64 * 1024, fields: 256, target: 8 * 1024, frame: 64 * 1024 }
    }
}
