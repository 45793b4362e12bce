use http::header::{CONTENT_LENGTH, HeaderMap};
use thiserror::Error;

/// A `Content-Length` that is no number, or several that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an invalid content-length")]
pub struct InvalidContentLength;

/// The `Content-Length` of a message (RFC 9110, 8.6). Returns `None` if it has none.
///
/// Repeated fields must be equal.
pub fn content_length(fields: &HeaderMap) -> Result<Option<u64>, InvalidContentLength> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter().map(|length| {
        // An integer of Rust may have a sign.
        let digits = length.to_str().ok().filter(|length| length.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<u64>().ok())
    });
    let Some(first) = lengths.next() else { return Ok(None) };
    first.filter(|_| lengths.all(|other| other == first)).map(Some).ok_or(InvalidContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Result<Option<u64>, InvalidContentLength> {
        let fields = values.iter().map(|value| (CONTENT_LENGTH, value.parse().unwrap()));
        content_length(&fields.collect())
    }

    #[test]
    fn one_length_is_that_of_the_body() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["0"]), Ok(Some(0)));
        assert_eq!(of(&["12", "12"]), Ok(Some(12)));
    }

    #[test]
    fn anything_else_is_invalid() {
        for values in
            [&["+5"][..], &["-1"], &[""], &["5 "], &["5, 5"], &["99999999999999999999"], &["1", "2"]]
        {
            assert_eq!(of(values), Err(InvalidContentLength), "{values:?}");
        }
    }
}
