use std::iter::Peekable;
use std::str::Chars;

/// The most bytes of a path, which bounds the depth of the tree.
const MAX_LEN: usize = 1024;

/// A path without the names of its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The segments before `{*rest}`.
    pub(crate) segments: Vec<Segment>,
    /// The text before `{*rest}` in its segment. `None` if the path has no `{*rest}`.
    pub(crate) rest: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Text(Box<str>),
    Parameter { before: Box<str>, after: Box<str> },
}

enum Parsed {
    Segment(Segment),
    Rest { before: Box<str> },
}

impl Pattern {
    /// The patterns of a path: one, or two if it is a prefix, for the path itself and for all paths below it. The error is the
    /// end of a sentence that starts with "the path".
    pub(crate) fn parse(path: &str, prefix: bool) -> Result<Vec<Self>, &'static str> {
        if path.len() > MAX_LEN {
            return Err("is longer than 1024 bytes");
        }
        if path.bytes().any(|byte| matches!(byte, b'?' | b'#' | 0x7f) || byte <= b' ') {
            return Err("has a character that is not valid in a path and must be percent-encoded");
        }
        if !path.is_ascii() {
            return Err("is not ASCII: percent-encode its UTF-8, such as `%C3%A9` for `é`");
        }
        if !is_percent_encoded(path) {
            return Err("has a `%` without two hexadecimal digits; write `%25` for the character");
        }
        let Some(relative) = path.strip_prefix('/') else {
            return Err("does not start with `/`");
        };
        let mut segments = Vec::new();
        let mut rest = None;
        for text in relative.split('/') {
            if rest.is_some() {
                return Err("has something after `{*…}`, which takes everything");
            }
            match parse_segment(text)? {
                Parsed::Segment(segment) => segments.push(segment),
                Parsed::Rest { before } => rest = Some(before),
            }
        }
        if !prefix {
            return Ok(vec![Self { segments, rest }]);
        }
        let Some((Segment::Text(last), above)) = segments.split_last() else {
            return Err("is a prefix, but does not end in `/`");
        };
        if !last.is_empty() || rest.is_some() {
            return Err("is a prefix, but does not end in `/`");
        }
        let below = Self { segments: above.to_vec(), rest: Some("".into()) };
        Ok(vec![Self { segments, rest }, below])
    }
}

/// Whether two hexadecimal digits follow each `%`.
fn is_percent_encoded(path: &str) -> bool {
    let mut parts = path.split('%');
    // The part before the first one.
    parts.next();
    parts.all(|part| part.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// Whether clients resolve the segment before they send a path (RFC 3986, 5.2.4 and 6.2.2).
fn is_dots(text: &str) -> bool {
    matches!(text.replace("%2e", ".").replace("%2E", ".").as_str(), "." | "..")
}

fn parse_segment(text: &str) -> Result<Parsed, &'static str> {
    // Other routers write parameters so. axum refuses them, too.
    if text.starts_with(':') {
        return Err("has a segment that starts with `:`; a parameter is `{id}`");
    }
    if text.starts_with('*') {
        return Err("has a segment that starts with `*`; the rest of a path is `{*rest}`");
    }
    if is_dots(text) {
        return Err("has a segment `.` or `..`, which clients resolve: write the path without it");
    }
    let mut chars = text.chars().peekable();
    let mut before = String::new();
    let mut rest = None;
    let mut after = String::new();
    while let Some(next) = chars.next() {
        let literal = if rest.is_some() { &mut after } else { &mut before };
        match next {
            '{' if chars.next_if_eq(&'{').is_some() => literal.push('{'),
            '}' if chars.next_if_eq(&'}').is_some() => literal.push('}'),
            '}' => return Err("has a `}` that closes nothing; write `}}` for a brace"),
            '{' if rest.is_some() => return Err("has more than one parameter in a segment"),
            '{' => {
                rest = Some(parse_parameter(&mut chars)?);
                if chars.peek() == Some(&'}') {
                    return Err("has a brace right after a parameter");
                }
            }
            other => literal.push(other),
        }
    }
    let (before, after) = (before.into_boxed_str(), after.into_boxed_str());
    match rest {
        None => Ok(Parsed::Segment(Segment::Text(before))),
        Some(false) => Ok(Parsed::Segment(Segment::Parameter { before, after })),
        Some(true) if after.is_empty() => Ok(Parsed::Rest { before }),
        Some(true) => Err("has something after `{*…}`, which takes everything"),
    }
}

/// Reads up to the closing brace. Returns whether the parameter takes the rest of the path.
fn parse_parameter(chars: &mut Peekable<Chars<'_>>) -> Result<bool, &'static str> {
    let rest = chars.next_if_eq(&'*').is_some();
    let mut empty = true;
    for next in chars {
        match next {
            '}' if empty => return Err("has a parameter without a name"),
            '}' => return Ok(rest),
            '{' | '*' => return Err("has a `{` or `*` in a parameter's name"),
            _ => empty = false,
        }
    }
    Err("has a `{` that is not closed in its segment; write `{{` for a brace")
}
