//! The request line without its method: target, authority, scheme and HTTP version.

use std::borrow::Cow;

use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Uri, Version};

use super::DecodeError;
use super::reader::Reader;
use crate::Limits;

/// The parts of a request's URI that have been read.
#[derive(Default)]
pub(super) struct Target {
    path: Option<PathAndQuery>,
    authority: Option<Authority>,
}

impl Target {
    pub(super) fn read_path(&mut self, reader: &mut Reader<'_>, limits: &Limits) -> Result<(), DecodeError> {
        let text = within(reader.text()?, limits)?;
        // RFC 9112, section 3.2. The parser also accepts other texts, such as an empty one, and cuts off a fragment.
        if !(text.starts_with('/') || text == "*") || text.contains('#') {
            return Err(DecodeError::Http("target"));
        }
        let path = PathAndQuery::from_maybe_shared(reader.slice(text.len()));
        self.path = Some(path.map_err(|_| DecodeError::Http("target"))?);
        Ok(())
    }

    pub(super) fn read_authority(
        &mut self,
        reader: &mut Reader<'_>,
        limits: &Limits,
    ) -> Result<(), DecodeError> {
        let length = within(reader.text()?, limits)?.len();
        let authority = Authority::from_maybe_shared(reader.slice(length));
        self.authority = Some(authority.map_err(|_| DecodeError::Http("authority"))?);
        Ok(())
    }

    /// Returns the URI: without an authority in origin form or `*`, with one in absolute form, and without a path in
    /// authority form.
    pub(super) fn into_uri(self, scheme: &Scheme) -> Result<Uri, DecodeError> {
        if self.path.is_none() && self.authority.is_none() {
            return Err(DecodeError::Malformed("a request without a target"));
        }
        let mut parts = Parts::default();
        parts.scheme = (self.path.is_some() && self.authority.is_some()).then(|| scheme.clone());
        parts.path_and_query = self.path;
        parts.authority = self.authority;
        Uri::from_parts(parts).map_err(|_| DecodeError::Http("target"))
    }
}

/// Returns the target of a URI for the request line: path and query. It is empty for a URI in authority form.
pub(super) fn of(uri: &Uri) -> Cow<'_, str> {
    match uri.path_and_query().map_or("", PathAndQuery::as_str) {
        query if query.starts_with('?') => format!("/{query}").into(),
        path => path.into(),
    }
}

/// Reads a scheme. `http` and `https` are recognized in any letter case.
pub(super) fn read_scheme(reader: &mut Reader<'_>) -> Result<Scheme, DecodeError> {
    match reader.text()? {
        text if text.eq_ignore_ascii_case("http") => Ok(Scheme::HTTP),
        text if text.eq_ignore_ascii_case("https") => Ok(Scheme::HTTPS),
        text if text.starts_with(|first: char| first.is_ascii_alphabetic()) => {
            text.parse().map_err(|_| DecodeError::Http("scheme"))
        }
        _ => Err(DecodeError::Http("scheme")),
    }
}

/// Returns the number of an HTTP version: major times ten plus minor.
pub(super) const fn version_number(version: Version) -> u64 {
    match version {
        Version::HTTP_09 => 9,
        Version::HTTP_10 => 10,
        Version::HTTP_2 => 20,
        Version::HTTP_3 => 30,
        _ => 11,
    }
}

pub(super) fn read_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    match reader.uint()? {
        9 => Ok(Version::HTTP_09),
        10 => Ok(Version::HTTP_10),
        11 => Ok(Version::HTTP_11),
        20 => Ok(Version::HTTP_2),
        30 => Ok(Version::HTTP_3),
        _ => Err(DecodeError::Http("version")),
    }
}

fn within<'a>(text: &'a str, limits: &Limits) -> Result<&'a str, DecodeError> {
    match text.len() > limits.target {
        true => Err(DecodeError::TooLarge { what: "target", limit: limits.target }),
        false => Ok(text),
    }
}
