//! HTTP fields as the array `[name, value, name, value, …]`.

use http::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};

use super::reader::Reader;
use super::writer::{STRING, Writer};
use super::{DecodeError, EncodeError, key};
use crate::Limits;
use crate::fields::{
    ConnectionOptions, Edit, is_forbidden_in_trailers_name, is_hop_by_hop_name, remove_hop_by_hop,
};

/// Between the parts of a `Cookie` field (RFC 6265, section 4.2.1).
const COOKIE_SEPARATOR: &[u8] = b"; ";

/// Returns an upper bound of the encoded length of fields, in bytes.
pub(super) fn encoded_len(fields: &HeaderMap, edit: &Edit<'_>) -> usize {
    let mut length = 0;
    for (name, value) in fields {
        length += name.as_str().len() + value.len() + 2 * STRING;
    }
    for (name, value) in edit.with {
        length += name.as_str().len() + value.len() + 2 * STRING;
    }
    length + edit.host.map_or(0, |host| HOST.as_str().len() + host.len() + 2 * STRING)
}

/// Returns an upper bound of the encoded length of trailers, in bytes.
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
    let most = fields.len() + edit.with.len() + usize::from(edit.host.is_some());
    if most == 0 {
        return Ok(());
    }
    let options = ConnectionOptions::of(fields, edit.keep);
    let mut cookies = edit.join_cookies.then(|| fields.get_all(COOKIE));
    let mut pairs = writer.begin_pairs(key::FIELDS, most);
    if let Some(host) = edit.host {
        writer.pair(&mut pairs, HOST.as_str(), host.as_bytes());
    }
    for (name, value) in fields {
        let text = name.as_str();
        if is_hop_by_hop_name(text) || options.contain(name) || is_left_out(name, edit) {
            continue;
        }
        if edit.join_cookies && *name == COOKIE {
            // The first one stands for all.
            if let Some(cookies) = cookies.take() {
                writer.joined_pair(&mut pairs, text, &cookies, COOKIE_SEPARATOR);
            }
            continue;
        }
        writer.pair(&mut pairs, text, value.as_bytes());
    }
    for (name, value) in edit.with {
        if !is_hop_by_hop_name(name.as_str()) {
            writer.pair(&mut pairs, name.as_str(), value.as_bytes());
        }
    }
    check_count(writer.end_pairs(pairs), limits)
}

/// Returns whether an edit leaves out, or replaces, the message's own field.
fn is_left_out(name: &HeaderName, edit: &Edit<'_>) -> bool {
    (edit.host.is_some() && *name == HOST) || edit.leaves_out(name)
}

/// Writes the trailer fields that may cross and returns their number. Writes nothing if it is 0.
pub(super) fn write_trailers(writer: &mut Writer, trailers: Option<&HeaderMap>) -> usize {
    let wanted = |name: &HeaderName| !is_forbidden_in_trailers_name(name.as_str());
    let Some(trailers) = trailers.filter(|trailers| trailers.keys().any(wanted)) else {
        return 0;
    };
    let mut pairs = writer.begin_pairs(key::TRAILERS, trailers.len());
    for (name, value) in trailers {
        if wanted(name) {
            writer.pair(&mut pairs, name.as_str(), value.as_bytes());
        }
    }
    writer.end_pairs(pairs)
}

pub(super) const fn check_count(count: usize, limits: &Limits) -> Result<(), EncodeError> {
    match count > limits.fields {
        true => Err(EncodeError::TooManyFields { limit: limits.fields }),
        false => Ok(()),
    }
}

/// Returns an error if a frame has trailers and does not end the body.
pub(super) const fn check_trailers(trailers: Option<&HeaderMap>, end: bool) -> Result<(), DecodeError> {
    match trailers {
        Some(_) if !end => Err(DecodeError::Malformed("trailers before the end")),
        _ => Ok(()),
    }
}

/// Reads fields and drops the ones that must not cross.
pub(super) fn read(reader: &mut Reader<'_>, limits: &Limits) -> Result<HeaderMap, DecodeError> {
    let mut has_hop_by_hop = false;
    // All fields are read first, because a `Connection` field may name others to drop.
    let mut fields = read_wanted(reader, limits, "fields", |name| {
        has_hop_by_hop |= is_hop_by_hop_name(name);
        true
    })?;
    if has_hop_by_hop {
        remove_hop_by_hop(&mut fields);
    }
    Ok(fields)
}

/// Reads trailer fields and drops the ones that are not allowed in trailers. Returns `None` if none is left.
pub(super) fn read_trailers(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Option<HeaderMap>, DecodeError> {
    let trailers = read_wanted(reader, limits, "trailers", |name| !is_forbidden_in_trailers_name(name))?;
    Ok(Some(trailers).filter(|trailers| !trailers.is_empty()))
}

fn read_wanted(
    reader: &mut Reader<'_>,
    limits: &Limits,
    what: &'static str,
    mut wanted: impl FnMut(&str) -> bool,
) -> Result<HeaderMap, DecodeError> {
    let elements = reader.array()?;
    if elements % 2 != 0 {
        return Err(DecodeError::Malformed("a field without a value"));
    }
    let too_many = || DecodeError::TooLarge { what, limit: limits.fields };
    let count =
        usize::try_from(elements / 2).ok().filter(|count| *count <= limits.fields).ok_or_else(too_many)?;
    // A field takes at least two bytes, so a count that the payload cannot hold allocates nothing.
    let capacity = count.min(reader.remaining() / 2);
    // Receivers add a field, for which the map would otherwise have to grow.
    let capacity = if capacity > 0 { capacity + 1 } else { 0 };
    let mut fields = HeaderMap::try_with_capacity(capacity).map_err(|_| too_many())?;
    for _ in 0..count {
        let name = HeaderName::from_bytes(reader.token()?);
        let name = name.map_err(|_| DecodeError::Http("field name"))?;
        let length = reader.bytes()?.len();
        let value = HeaderValue::from_maybe_shared(reader.slice(length));
        let value = value.map_err(|_| DecodeError::Http("field value"))?;
        if wanted(name.as_str()) {
            fields.try_append(name, value).map_err(|_| too_many())?;
        }
    }
    Ok(fields)
}
