//! The preferences of a client (RFC 7240) that narun supports.

#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{HeaderMap, HeaderName};

pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");

/// More seconds are taken for this many (RFC 9111, 1.2.2).
const MOST_SECONDS: u64 = 1 << 31;

/// The preferences of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    /// `respond-async`: 202 instead of a long wait.
    pub(crate) respond_async: bool,
    /// `wait`: how long to wait at most.
    pub(crate) wait: Option<Duration>,
}

/// Reads one `Prefer` field from left to right.
#[derive(Debug)]
struct Cursor<'a> {
    rest: &'a [u8],
}

/// A value: a token, or a quoted string without its escapes.
type Word<'a> = std::borrow::Cow<'a, [u8]>;

impl Prefer {
    /// The preferences in all `Prefer` fields.
    ///
    /// If a preference is repeated, the first one counts. Malformed ones are skipped up to the next comma, and so are other
    /// preferences and parameters.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let (mut respond_async, mut wait) = (None, None);
        for field in headers.get_all(PREFER) {
            let mut cursor = Cursor { rest: field.as_bytes() };
            while let Some(preference) = cursor.next_preference() {
                let Some((name, value)) = preference else { continue };
                if name.eq_ignore_ascii_case(b"respond-async") {
                    // It has no value, and an empty value means the same (RFC 7240, 2).
                    respond_async.get_or_insert(value.is_empty());
                } else if name.eq_ignore_ascii_case(b"wait") {
                    wait.get_or_insert_with(|| seconds(&value));
                }
            }
        }
        Self { respond_async: respond_async.unwrap_or_default(), wait: wait.flatten() }
    }
}

impl<'a> Cursor<'a> {
    /// The next element of the list: its name and value, or `Some(None)` if it is malformed. Returns `None` at the end.
    #[expect(clippy::option_option, reason = "the outer one is that of an iterator")]
    fn next_preference(&mut self) -> Option<Option<(&'a [u8], Word<'a>)>> {
        while self.skip(b",") || self.skip_blanks() {}
        if self.rest.is_empty() {
            return None;
        }
        let preference = self.element();
        // Skips parameters, which no known preference has, and malformed bytes.
        while self.rest.first().is_some_and(|byte| *byte != b',') {
            if self.rest.starts_with(b"\"") {
                let _ = self.quoted();
            } else {
                self.rest = &self.rest[1..];
            }
        }
        Some(preference)
    }

    /// A preference without its parameters. Returns `None` if it is malformed.
    fn element(&mut self) -> Option<(&'a [u8], Word<'a>)> {
        let name = self.token().filter(|name| !name.is_empty())?;
        self.skip_blanks();
        let value = if self.skip(b"=") {
            self.skip_blanks();
            if self.rest.starts_with(b"\"") { self.quoted()? } else { self.token()?.into() }
        } else {
            Word::default()
        };
        self.skip_blanks();
        matches!(self.rest.first(), None | Some(b',' | b';')).then_some((name, value))
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.iter().take_while(|byte| is_token(**byte)).count();
        let (token, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(token)
    }

    /// A quoted string. Returns `None` if it does not end, and then takes the rest of the field.
    fn quoted(&mut self) -> Option<Word<'a>> {
        let mut text = Vec::new();
        let mut bytes = std::mem::take(&mut self.rest).get(1..)?.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' => {
                    self.rest = bytes.as_slice();
                    return Some(text.into());
                }
                b'\\' => text.push(*bytes.next()?),
                byte => text.push(*byte),
            }
        }
        None
    }

    fn skip(&mut self, prefix: &[u8]) -> bool {
        self.rest.strip_prefix(prefix).map(|rest| self.rest = rest).is_some()
    }

    fn skip_blanks(&mut self) -> bool {
        let before = self.rest.len();
        while self.skip(b" ") || self.skip(b"\t") {}
        self.rest.len() < before
    }
}

/// A number of seconds. Returns `None` if it has anything but digits.
fn seconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |seconds: u64, digit: &u8| {
        seconds.saturating_mul(10).saturating_add(u64::from(digit - b'0')).min(MOST_SECONDS)
    };
    Some(Duration::from_secs(value.iter().fold(0, digit)))
}

/// Whether a token (RFC 9110, 5.6.2) may have this byte.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
