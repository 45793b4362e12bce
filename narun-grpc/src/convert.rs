//! Conversions between the types of the contract and of NATS.

mod consumer;
mod stream;

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use async_nats::datetime::DateTime;
use async_nats::header::{HeaderName, HeaderValue};
use prost_types::Timestamp;
use tonic::Status;

pub(crate) use self::consumer::{from_consumer, to_consumer};
pub(crate) use self::stream::{change_stream, from_stream, to_stream};
use crate::status::OrStatus;
use crate::tenant::Tenant;

/// The longest queue group, in bytes: with the longest subject it fits a line of the NATS protocol.
const LONGEST_GROUP: usize = 256;

/// The longest subject and reply subject together, in bytes. A server closes the connection if their line is over 4 KiB.
const LONGEST_SUBJECTS: usize = 3840;

/// The longest duration of JetStream, which counts nanoseconds in an `i64`.
pub(crate) const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);
const LONGEST_YEARS: u64 = LONGEST.as_secs() / (365 * 24 * 60 * 60);

/// The years 1 to 9999 in seconds since 1970, the range of a protobuf timestamp.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The NATS name of this subject of the tenant. Fails if it has wildcards.
pub(crate) fn publish_subject(tenant: &Tenant, subject: &str) -> Result<String, Status> {
    if subject.split('.').any(|token| matches!(token, "*" | ">")) {
        return Err(Status::invalid_argument("a subject to publish to must not have wildcards"));
    }
    tenant.subject(subject).or_status()
}

/// The NATS name of this subject of the tenant, which may have wildcards.
pub(crate) fn filter_subject(tenant: &Tenant, subject: &str) -> Result<String, Status> {
    if subject.rsplit('.').skip(1).any(|token| token == ">") {
        return Err(Status::invalid_argument("the wildcard > must be the last token of a subject"));
    }
    tenant.subject(subject).or_status()
}

/// Whether a filter matches a subject without wildcards.
pub(crate) fn covers(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// The NATS name of a reply subject. Returns `None` if it is empty.
pub(crate) fn reply_subject(
    tenant: &Tenant,
    subject: &str,
    reply_to: &str,
) -> Result<Option<String>, Status> {
    if reply_to.is_empty() {
        return Ok(None);
    }
    let reply = publish_subject(tenant, reply_to)?;
    if subject.len() + reply.len() > LONGEST_SUBJECTS {
        return Err(Status::invalid_argument("subject and reply_to together are too long"));
    }
    Ok(Some(reply))
}

/// Checks a queue group. Returns `None` if it is empty.
pub(crate) fn queue_group(group: &str) -> Result<Option<&str>, Status> {
    let bad = |character: char| character.is_whitespace() || character.is_control();
    if group.len() > LONGEST_GROUP || group.contains(bad) {
        return Err(Status::invalid_argument(format!(
            "a queue group must not have white space or control characters, or more than {LONGEST_GROUP} bytes"
        )));
    }
    Ok((!group.is_empty()).then_some(group))
}

/// Converts headers. They must be printable ASCII: NATS clients disagree on anything else. Returns `None` if there are
/// none.
pub(crate) fn to_header_map(
    allowed: &HashSet<String>,
    headers: &BTreeMap<String, String>,
) -> Result<Option<HeaderMap>, Status> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        check_header(allowed, name, value)?;
        let bad = |_| Status::invalid_argument("invalid header");
        let name: HeaderName = name.parse().map_err(bad)?;
        let value: HeaderValue = value.parse().map_err(|_| bad_header_value())?;
        map.insert(name, value);
    }
    Ok((!map.is_empty()).then_some(map))
}

fn check_header(allowed: &HashSet<String>, name: &str, value: &str) -> Result<(), Status> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Err(Status::invalid_argument(
            "a header name must be printable ASCII without spaces and colons",
        ));
    }
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return Err(bad_header_value());
    }
    let lower = name.to_ascii_lowercase();
    let steers = lower.starts_with("nats-") || lower.starts_with("kv-");
    if steers && !allowed.contains(&lower) {
        return Err(Status::invalid_argument("clients must not set headers that begin with Nats- or KV-"));
    }
    Ok(())
}

fn bad_header_value() -> Status {
    Status::invalid_argument("a header value must be printable ASCII")
}

/// Headers of NATS's own whose values are NATS names, with the tenant's id in them.
const NAMING_HEADERS: [&str; 4] =
    ["Nats-Expected-Stream", "Nats-Stream", "Nats-Stream-Source", "Nats-Subject"];

/// Converts NATS headers for a client, without those with internal names. Several values of a name are joined.
pub(crate) fn to_headers(headers: Option<&HeaderMap>) -> BTreeMap<String, String> {
    let joined =
        |values: &Vec<HeaderValue>| values.iter().map(HeaderValue::as_str).collect::<Vec<_>>().join(", ");
    let headers = headers.into_iter().flat_map(HeaderMap::iter);
    let is_internal = |name: &HeaderName| {
        NAMING_HEADERS.iter().any(|internal| internal.eq_ignore_ascii_case(name.as_ref()))
    };
    let headers = headers.filter(|(name, _)| !is_internal(name));
    headers.map(|(name, values)| (name.to_string(), joined(values))).collect()
}

/// The encoded length of headers; 0 if there are none.
pub(crate) fn header_length(headers: Option<&HeaderMap>) -> usize {
    let Some(headers) = headers else { return 0 };
    let lines = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(|value| name.len() + value.as_str().len() + ": \r\n".len())
    });
    "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>()
}

/// A duration of a request. Returns `None` if it is unset, and fails if it is invalid.
pub(crate) fn duration(
    field: &str,
    duration: Option<&prost_types::Duration>,
) -> Result<Option<Duration>, Status> {
    let bad = || Status::invalid_argument(format!("{field} is not a duration of 0 to {LONGEST_YEARS} years"));
    duration
        .map(|duration| read_duration(duration).filter(|read| *read <= LONGEST).ok_or_else(bad))
        .transpose()
}

/// How long a request wants to wait. A negative duration is zero.
pub(crate) fn patience(duration: Option<&prost_types::Duration>, default: Duration) -> Duration {
    duration.map_or(default, |duration| read_duration(duration).unwrap_or_default().min(LONGEST))
}

/// Returns `None` if it is negative. The conversion of prost-types fails on more durations.
fn read_duration(duration: &prost_types::Duration) -> Option<Duration> {
    let seconds = Duration::from_secs(duration.seconds.try_into().ok()?);
    seconds.checked_add(Duration::from_nanos(duration.nanos.try_into().ok()?))
}

/// A time of a request. Returns `None` if it is outside the years 1 to 9999.
pub(crate) fn read_time(time: &Timestamp) -> Option<DateTime> {
    let valid = TIMES.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    let nanoseconds = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    async_nats::datetime::from_nanos(nanoseconds).ok().filter(|_| valid)
}

pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

/// A time of JetStream. Returns `None` for the year 1, by which JetStream means no time.
pub(crate) fn date(date: DateTime) -> Option<Timestamp> {
    let time = SystemTime::from(date);
    (time > SystemTime::UNIX_EPOCH).then(|| timestamp(time))
}

/// Converts a number. One that does not fit becomes the largest of the type.
pub(crate) fn saturating<T: TryFrom<U> + Limit, U>(number: U) -> T {
    T::try_from(number).unwrap_or(T::LIMIT)
}

/// The largest number of a type.
pub(crate) trait Limit {
    const LIMIT: Self;
}

impl Limit for i32 {
    const LIMIT: Self = Self::MAX;
}

impl Limit for i64 {
    const LIMIT: Self = Self::MAX;
}

#[cfg(test)]
mod tests;
