//! Short texts for people, and durations.

use std::time::Duration;

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, key};

/// Longest text for people, in bytes.
const LONGEST: usize = 256;

pub(super) fn write_instance(writer: &mut Writer, instance: Option<&str>) {
    if let Some(instance) = instance {
        writer.text(key::INSTANCE, shortened(instance));
    }
}

/// Reads a text for people. A text that is too long is cut off.
pub(super) fn read_short(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    reader.text().map(|text| shortened(text).to_owned())
}

/// Cuts a text off at the limit, between two characters.
pub(super) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Returns a duration in whole milliseconds, rounded up, so that only zero becomes zero.
pub(super) fn millis(duration: Duration) -> u64 {
    let fraction = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    duration.as_secs().saturating_mul(1000).saturating_add(fraction)
}
