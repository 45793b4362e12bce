use bytes::{Buf, Bytes};
use http::HeaderMap;

use super::FlowConfig;
use super::pieces::Pieces;
use crate::frame::Data;

/// How many DATA may follow each other without new credit. From then on they have to be full ones: what waits for a
/// reader that has stopped is bounded in frames, too.
const MANY: u32 = 256;

/// What a DATA takes besides its bytes, at most.
const FRAMING: usize = 32;

/// The largest DATA. NATS clients read into buffers of 32 KiB, async-nats at least, and what does not fit one, with its
/// subjects, is moved while it comes.
const LARGEST: usize = 32 * 1024 - 256;

/// One direction of an exchange where the bytes come from.
#[derive(Debug)]
pub(in crate::exchange) struct Sender {
    /// Number of the last DATA.
    last: u64,
    /// Offset up to which bytes were sent.
    sent: u64,
    /// Offset up to which they may be.
    credit: u64,
    /// The largest frame, and the most bytes in one.
    frame: usize,
    chunk: usize,
    /// DATA since credit was last gained.
    since: u32,
    pending: Pieces,
    /// Whether more may be there at once, so that only full DATA are sent.
    corked: bool,
    end: End,
}

#[derive(Debug)]
enum End {
    /// There is more, or may be.
    Open,
    /// What is pending is all; trailers follow.
    Given(Option<HeaderMap>),
    /// It was sent, or is not wanted any more.
    Over,
}

impl Sender {
    /// A body of which bytes up to this offset were sent inline, and that may be sent up to `credit`.
    pub(in crate::exchange) fn new(config: &FlowConfig, inline: u64, credit: u64) -> Self {
        let quarter = usize::try_from(config.window / 4).unwrap_or(usize::MAX);
        let chunk = config.frame.min(LARGEST).saturating_sub(FRAMING).min(quarter).max(1);
        Self {
            last: 0,
            sent: inline,
            credit: credit.max(inline),
            frame: config.frame,
            chunk,
            since: 0,
            pending: Pieces::default(),
            corked: false,
            end: End::Open,
        }
    }

    /// The other side's server takes no larger payload; 0 if it did not say.
    pub(in crate::exchange) fn limit(&mut self, max_payload: u64) {
        if let most @ 1.. = usize::try_from(max_payload).unwrap_or(usize::MAX) {
            self.frame = self.frame.min(most);
            self.chunk = self.chunk.min(most.saturating_sub(FRAMING).max(1));
        }
    }

    /// Whether there is credit for bytes that are not here yet, and use for them.
    pub(in crate::exchange) fn wants_data(&self) -> bool {
        matches!(self.end, End::Open)
            && self.pending.len() < self.chunk
            && self.sent + (self.pending.len() as u64) < self.credit
    }

    /// Whether nothing more will be sent.
    pub(in crate::exchange) const fn is_over(&self) -> bool {
        matches!(self.end, End::Over)
    }

    /// Whether nothing can be sent before credit comes.
    pub(in crate::exchange) fn is_stalled(&self) -> bool {
        match &self.end {
            End::Open => self.sent >= self.credit || (!self.pending.is_empty() && self.size() == 0),
            End::Given(_) => !self.pending.is_empty() && self.size() == 0,
            End::Over => false,
        }
    }

    /// Number of the last DATA, 0 if there was none.
    pub(in crate::exchange) const fn last(&self) -> u64 {
        self.last
    }

    /// Adds to the body.
    pub(in crate::exchange) fn push(&mut self, data: Bytes) {
        if matches!(self.end, End::Open) {
            self.pending.push(data);
        }
    }

    /// More may be there at once: as long as it is wanted, and until [`Sender::uncork`], only full DATA are sent.
    pub(in crate::exchange) const fn cork(&mut self) {
        self.corked = true;
    }

    /// Nothing more is there for now. True if something has waited for more.
    pub(in crate::exchange) fn uncork(&mut self) -> bool {
        std::mem::take(&mut self.corked) && self.size() > 0
    }

    /// Ends the body; false if its trailers do not fit a frame.
    pub(in crate::exchange) fn finish(&mut self, trailers: Option<HeaderMap>) -> bool {
        let trailers = trailers.filter(|trailers| !trailers.is_empty());
        let fits = trailers.is_none() || last(u64::MAX, trailers.clone()).encode().len() <= self.frame;
        if matches!(self.end, End::Open) {
            self.end = End::Given(trailers);
        }
        fits
    }

    /// Takes credit; true if it is more than before.
    pub(in crate::exchange) const fn credit(&mut self, offset: u64) -> bool {
        let more = offset > self.credit;
        if more {
            self.credit = offset;
            self.since = 0;
        }
        more
    }

    /// The other side does not want it any more.
    pub(in crate::exchange) fn stop(&mut self) {
        self.end = End::Over;
        self.pending = Pieces::default();
    }

    /// The next DATA, encoded.
    pub(in crate::exchange) fn poll(&mut self) -> Option<Bytes> {
        let size = self.size();
        if self.corked && self.wants_data() {
            return None;
        }
        let data = match &mut self.end {
            End::Over => return None,
            End::Given(trailers) if self.pending.is_empty() => {
                let data = last(self.last + 1, trailers.take()).encode();
                self.end = End::Over;
                data
            }
            _ if size == 0 => return None,
            end => {
                let is_last = self.pending.len() == size && matches!(end, End::Given(None));
                if is_last {
                    *end = End::Over;
                }
                self.sent += size as u64;
                Data::encode_parts(self.last + 1, Buf::take(&mut self.pending, size), is_last, None)
            }
        };
        self.last += 1;
        self.since += 1;
        Some(data)
    }

    /// How many bytes the next DATA may carry.
    fn size(&self) -> usize {
        let room = usize::try_from(self.credit.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let most = room.min(self.chunk);
        let size = most.min(self.pending.len());
        let is_full = size == most || !matches!(self.end, End::Open);
        if self.since >= MANY && !is_full { 0 } else { size }
    }
}

const fn last(sequence: u64, trailers: Option<HeaderMap>) -> Data {
    Data { sequence, body: Bytes::new(), end: true, trailers }
}

#[cfg(test)]
mod tests;
