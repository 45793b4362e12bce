//! Short texts for people, and durations.

use std::time::Duration;

use super::reader::Reader;
use super::writer::Writer;
use super::{DecodeError, key};

/// Bytes of a text for people, at most.
const LONGEST: usize = 256;

pub(super) fn write_instance(writer: &mut Writer, instance: Option<&str>) {
    if let Some(instance) = instance {
        writer.text(key::INSTANCE, shortened(instance));
    }
}

/// Reads a text for people, of which more than is allowed is cut off rather than refused.
pub(super) fn read_short(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    reader.text().map(|text| shortened(text).to_owned())
}

/// The longest beginning of the text within the limit.
pub(super) fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A duration in whole milliseconds, rounded up, so that some time never becomes none.
pub(super) fn millis(duration: Duration) -> u64 {
    let fraction = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    duration.as_secs().saturating_mul(1000).saturating_add(fraction)
}
