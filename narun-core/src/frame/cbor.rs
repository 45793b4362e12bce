//! The heads of CBOR items (RFC 8949, section 3), which is all of CBOR that frames need.
//!
//! Written here and not taken from a crate, because results that carry an error's text cost an encoder as much as all else
//! it does, and because every crate that there is allows more than frames do: indefinite lengths, for one.

/// Major types, as they stand in an item's initial byte.
pub(super) const UINT: u8 = 0 << 5;
pub(super) const BYTES: u8 = 2 << 5;
pub(super) const TEXT: u8 = 3 << 5;
pub(super) const ARRAY: u8 = 4 << 5;
pub(super) const MAP: u8 = 5 << 5;
pub(super) const TAG: u8 = 6 << 5;
pub(super) const SIMPLE: u8 = 7 << 5;

/// Initial bytes of the two booleans.
pub(super) const FALSE: u8 = SIMPLE | 20;
pub(super) const TRUE: u8 = SIMPLE | 21;

/// What [`read_item`] found.
pub(super) enum Item<'a> {
    /// The head of an item, and what follows it.
    Read { major: u8, argument: u64, rest: &'a [u8] },
    /// The input ends within the head.
    Ended,
    /// An indefinite length, or what ends one.
    Indefinite,
    /// A form that CBOR has not given a meaning.
    Reserved,
}

/// Reads the head of an item.
#[inline]
pub(super) fn read_item(input: &[u8]) -> Item<'_> {
    let Some((&initial, rest)) = input.split_first() else { return Item::Ended };
    let major = initial & 0xe0;
    match initial & 0x1f {
        small @ ..=23 => Item::Read { major, argument: small.into(), rest },
        width => read_wide_item(major, width, rest),
    }
}

fn read_wide_item(major: u8, width: u8, rest: &[u8]) -> Item<'_> {
    let read = match width {
        24 => rest.split_first_chunk().map(|(bytes, rest)| (u8::from_be_bytes(*bytes).into(), rest)),
        25 => rest.split_first_chunk().map(|(bytes, rest)| (u16::from_be_bytes(*bytes).into(), rest)),
        26 => rest.split_first_chunk().map(|(bytes, rest)| (u32::from_be_bytes(*bytes).into(), rest)),
        27 => rest.split_first_chunk().map(|(bytes, rest)| (u64::from_be_bytes(*bytes), rest)),
        31 => return Item::Indefinite,
        _ => return Item::Reserved,
    };
    match read {
        Some((argument, rest)) => Item::Read { major, argument, rest },
        None => Item::Ended,
    }
}

/// Writes the head of an item, in as few bytes as it needs.
#[inline]
pub(super) fn write_item(buffer: &mut Vec<u8>, major: u8, argument: u64) {
    match u8::try_from(argument) {
        Ok(small @ ..=23) => buffer.push(major | small),
        Ok(byte) => buffer.extend_from_slice(&[major | 24, byte]),
        Err(_) => write_wide_item(buffer, major, argument),
    }
}

fn write_wide_item(buffer: &mut Vec<u8>, major: u8, argument: u64) {
    if let Ok(short) = u16::try_from(argument) {
        buffer.push(major | 25);
        buffer.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(word) = u32::try_from(argument) {
        buffer.push(major | 26);
        buffer.extend_from_slice(&word.to_be_bytes());
    } else {
        buffer.push(major | 27);
        buffer.extend_from_slice(&argument.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::{Item, UINT, read_item, write_item};

    fn read(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
        match read_item(bytes) {
            Item::Read { major, argument, rest } => Some((major, argument, rest)),
            _ => None,
        }
    }

    #[test]
    fn arguments_take_as_few_bytes_as_they_need() {
        let widths = [
            (0, 1),
            (23, 1),
            (24, 2),
            (0xff, 2),
            (0x100, 3),
            (0xffff, 3),
            (0x1_0000, 5),
            (0xffff_ffff, 5),
            (0x1_0000_0000, 9),
            (u64::MAX, 9),
        ];
        for (argument, width) in widths {
            for major in (UINT..=0xe0).step_by(0x20) {
                let mut buffer = Vec::new();
                write_item(&mut buffer, major, argument);
                assert_eq!(buffer.len(), width);
                for end in 0..width {
                    assert!(matches!(read_item(&buffer[..end]), Item::Ended));
                }
                buffer.push(7);
                assert_eq!(read(&buffer), Some((major, argument, &[7][..])));
            }
        }
    }

    #[test]
    fn other_forms_are_told_apart() {
        for major in (UINT..=0xe0).step_by(0x20) {
            for reserved in 28..31 {
                assert!(matches!(read_item(&[major | reserved, 0]), Item::Reserved));
            }
            assert!(matches!(read_item(&[major | 31, 0]), Item::Indefinite));
        }
    }
}
