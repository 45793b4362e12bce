//! HTTP fields as the array `[name, value, name, value, …]`.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::reader::Reader;
use super::writer::{STRING, Writer};
use super::{DecodeError, EncodeError, key};
use crate::Limits;
use crate::fields::{ConnectionOptions, Edit, is_forbidden_in_trailers, is_hop_by_hop, remove_hop_by_hop};

/// Bytes that the fields take at most when they are encoded.
pub(super) fn encoded_len(fields: &HeaderMap, edit: &Edit<'_>) -> usize {
    let with = edit.with.iter().map(|(name, value)| (name, value));
    fields.iter().chain(with).map(|(name, value)| name.as_str().len() + value.len() + 2 * STRING).sum()
}

/// Bytes that trailers take at most when they are encoded.
pub(super) fn trailers_len(trailers: Option<&HeaderMap>) -> usize {
    trailers.map_or(0, |trailers| encoded_len(trailers, &Edit::default()))
}

/// Writes the fields that may cross.
pub(super) fn write(
    writer: &mut Writer,
    fields: &HeaderMap,
    edit: &Edit<'_>,
    limits: &Limits,
) -> Result<(), EncodeError> {
    let most = fields.len() + edit.with.len();
    if most == 0 {
        return Ok(());
    }
    let options = ConnectionOptions::of(fields);
    let kept = fields
        .iter()
        .filter(|(name, _)| !is_hop_by_hop(name) && !options.contain(name) && !edit.without.contains(name));
    let with = edit.with.iter().map(|(name, value)| (name, value)).filter(|(name, _)| !is_hop_by_hop(name));
    check_count(writer.pairs(key::FIELDS, most, kept.chain(with).map(raw)), limits)
}

/// Writes the trailer fields that may cross and returns how many; nothing at all if there is none.
pub(super) fn write_trailers(writer: &mut Writer, trailers: Option<&HeaderMap>) -> usize {
    let allowed = |(name, _): &(&HeaderName, &HeaderValue)| !is_forbidden_in_trailers(name);
    match trailers {
        Some(trailers) if trailers.iter().any(|field| allowed(&field)) => {
            writer.pairs(key::TRAILERS, trailers.len(), trailers.iter().filter(allowed).map(raw))
        }
        _ => 0,
    }
}

pub(super) const fn check_count(count: usize, limits: &Limits) -> Result<(), EncodeError> {
    match count > limits.fields {
        true => Err(EncodeError::TooManyFields { limit: limits.fields }),
        false => Ok(()),
    }
}

/// Trailers are the end of a body, so they come where it ends or not at all.
pub(super) const fn check_trailers(trailers: Option<&HeaderMap>, end: bool) -> Result<(), DecodeError> {
    match trailers {
        Some(_) if !end => Err(DecodeError::Malformed("trailers before the end")),
        _ => Ok(()),
    }
}

/// Reads fields, less those that must not cross.
pub(super) fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<HeaderMap, DecodeError> {
    let mut fields = read_all(reader, limits, "fields")?;
    remove_hop_by_hop(&mut fields);
    Ok(fields)
}

/// Reads trailer fields, less those that must not cross or do not belong there; none if nothing is left.
pub(super) fn read_trailers(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Option<HeaderMap>, DecodeError> {
    let mut trailers = read_all(reader, limits, "trailers")?;
    if trailers.keys().any(is_forbidden_in_trailers) {
        trailers = crate::fields::retain(trailers, |name| !is_forbidden_in_trailers(name));
    }
    Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
}

fn read_all(reader: &mut Reader<'_>, limits: &Limits, what: &'static str) -> Result<HeaderMap, DecodeError> {
    let elements = reader.array()?;
    if elements % 2 != 0 {
        return Err(DecodeError::Malformed("a field without a value"));
    }
    let too_many = DecodeError::TooLarge { what, limit: limits.fields };
    let count = match usize::try_from(elements / 2) {
        Ok(count) if count <= limits.fields => count,
        _ => return Err(too_many),
    };
    // A field takes two bytes at least, so a count that the payload cannot hold allocates nothing.
    let mut fields =
        HeaderMap::try_with_capacity(count.min(reader.remaining() / 2)).map_err(|_| too_many.clone())?;
    for _ in 0..count {
        let name = reader.text()?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| DecodeError::Http("field name"))?;
        let length = reader.bytes()?.len();
        let value = HeaderValue::from_maybe_shared(reader.slice(length));
        let value = value.map_err(|_| DecodeError::Http("field value"))?;
        fields.try_append(name, value).map_err(|_| too_many.clone())?;
    }
    Ok(fields)
}

fn raw<'a>((name, value): (&'a HeaderName, &'a HeaderValue)) -> (&'a str, &'a [u8]) {
    (name.as_str(), value.as_bytes())
}
