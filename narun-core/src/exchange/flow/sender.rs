use bytes::{Buf, Bytes};
use http::HeaderMap;

use super::FlowConfig;
use super::pieces::Pieces;
use crate::frame::Data;

/// Number of DATA without new credit after which only full ones are sent, so that the queue of a reader that has stopped
/// is bounded in frames, too.
const PARTIAL_DATA: u32 = 256;

/// Bytes that a DATA takes in addition to its body, at most.
const FRAMING: usize = 32;

/// Largest DATA, in bytes. NATS clients, async-nats at least, read into buffers of 32 KiB; a message that does not fit
/// one with its subjects is copied while it arrives.
const LARGEST: usize = 32 * 1024 - 256;

/// The sending end of a body.
#[derive(Debug)]
pub(in crate::exchange) struct Sender {
    /// Sequence number of the last DATA.
    last: u64,
    /// Offset up to which the body was sent.
    sent: u64,
    /// Offset up to which the body may be sent.
    credit: u64,
    /// Largest frame, and the most body bytes in one.
    frame: usize,
    chunk: usize,
    /// DATA since credit was last gained.
    data_since_credit: u32,
    pending: Pieces,
    /// Whether only full DATA are sent, because more of the body may be available at once.
    corked: bool,
    end: End,
}

#[derive(Debug)]
enum End {
    /// More of the body may follow.
    Open,
    /// The pending bytes are the last ones; trailers follow.
    Given(Option<HeaderMap>),
    /// The end was sent, or the body is not wanted any more.
    Over,
}

impl Sender {
    /// Begins a body whose bytes below `inline` were sent inline. It may be sent up to the offset `credit`.
    pub(in crate::exchange) fn new(config: &FlowConfig, inline: u64, credit: u64) -> Self {
        let quarter = usize::try_from(config.window / 4).unwrap_or(usize::MAX);
        let chunk = config.frame.min(LARGEST).saturating_sub(FRAMING).min(quarter).max(1);
        Self {
            last: 0,
            sent: inline,
            credit: credit.max(inline),
            frame: config.frame,
            chunk,
            data_since_credit: 0,
            pending: Pieces::default(),
            corked: false,
            end: End::Open,
        }
    }

    /// Limits frames to `max_payload` bytes, which a server takes. Does nothing if it is 0: unknown.
    pub(in crate::exchange) fn limit(&mut self, max_payload: u64) {
        if let most @ 1.. = usize::try_from(max_payload).unwrap_or(usize::MAX) {
            self.frame = self.frame.min(most);
            self.chunk = self.chunk.min(most.saturating_sub(FRAMING).max(1));
        }
    }

    /// Returns whether there is credit for more bytes than are pending.
    pub(in crate::exchange) fn wants_data(&self) -> bool {
        matches!(self.end, End::Open)
            && self.pending.len() < self.chunk
            && self.sent + (self.pending.len() as u64) < self.credit
    }

    /// Returns whether no more is sent.
    pub(in crate::exchange) const fn is_over(&self) -> bool {
        matches!(self.end, End::Over)
    }

    /// Returns whether nothing can be sent until credit arrives.
    pub(in crate::exchange) fn is_stalled(&self) -> bool {
        match &self.end {
            End::Open => self.sent >= self.credit || (!self.pending.is_empty() && self.size() == 0),
            End::Given(_) => !self.pending.is_empty() && self.size() == 0,
            End::Over => false,
        }
    }

    /// Returns the sequence number of the last DATA, or 0 if none was sent.
    pub(in crate::exchange) const fn last(&self) -> u64 {
        self.last
    }

    /// Adds bytes to the body. Does nothing after its end.
    pub(in crate::exchange) fn push(&mut self, data: Bytes) {
        if matches!(self.end, End::Open) {
            self.pending.push(data);
        }
    }

    /// Sends only full DATA while more is wanted, until [`Sender::uncork`]: more of the body may be available at once.
    pub(in crate::exchange) const fn cork(&mut self) {
        self.corked = true;
    }

    /// Ends the effect of [`Sender::cork`]. Returns whether something was held back.
    pub(in crate::exchange) fn uncork(&mut self) -> bool {
        std::mem::take(&mut self.corked) && self.size() > 0
    }

    /// Ends the body. Returns false if its trailers do not fit a frame.
    pub(in crate::exchange) fn finish(&mut self, trailers: Option<HeaderMap>) -> bool {
        let trailers = trailers.filter(|trailers| !trailers.is_empty());
        let fits = trailers.is_none() || last(u64::MAX, trailers.clone()).encode().len() <= self.frame;
        if matches!(self.end, End::Open) {
            self.end = End::Given(trailers);
        }
        fits
    }

    /// Applies credit. Returns false, and changes nothing, if the offset is not larger than before.
    pub(in crate::exchange) const fn credit(&mut self, offset: u64) -> bool {
        let more = offset > self.credit;
        if more {
            self.credit = offset;
            self.data_since_credit = 0;
        }
        more
    }

    /// Drops the rest of the body: the other side does not want it any more.
    pub(in crate::exchange) fn stop(&mut self) {
        self.end = End::Over;
        self.pending = Pieces::default();
    }

    /// Returns the next DATA, encoded, or `None` if none can be sent for now.
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
        self.data_since_credit += 1;
        Some(data)
    }

    /// Returns how many bytes the next DATA carries.
    fn size(&self) -> usize {
        let room = usize::try_from(self.credit.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let most = room.min(self.chunk);
        let size = most.min(self.pending.len());
        let is_full = size == most || !matches!(self.end, End::Open);
        if self.data_since_credit >= PARTIAL_DATA && !is_full { 0 } else { size }
    }
}

const fn last(sequence: u64, trailers: Option<HeaderMap>) -> Data {
    Data { sequence, body: Bytes::new(), end: true, trailers }
}

#[cfg(test)]
mod tests;
