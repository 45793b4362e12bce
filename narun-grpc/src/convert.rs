//! Between the contract's types and NATS's, in both directions.

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

/// The longest queue group, in bytes; with the longest subject it still fits a line of NATS's protocol.
const LONGEST_GROUP: usize = 256;

/// Bytes of subject and reply subject together at most. A server ends the connection over 4 KiB of them and the
/// rest of their line.
const LONGEST_SUBJECTS: usize = 3840;

/// The longest duration that JetStream takes, which counts nanoseconds in 64 bits with a sign.
pub(crate) const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);
const LONGEST_YEARS: u64 = LONGEST.as_secs() / (365 * 24 * 60 * 60);

/// The years 1 to 9999, in seconds since 1970, as protobuf has them.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The tenant's subject of this name, without wildcards.
pub(crate) fn publish_subject(tenant: &Tenant, subject: &str) -> Result<String, Status> {
    if subject.split('.').any(|token| matches!(token, "*" | ">")) {
        return Err(Status::invalid_argument("a subject to publish to has no wildcards"));
    }
    tenant.subject(subject).or_status()
}

/// The tenant's subject of this name, which may have wildcards where NATS takes them.
pub(crate) fn filter_subject(tenant: &Tenant, subject: &str) -> Result<String, Status> {
    if subject.rsplit('.').skip(1).any(|token| token == ">") {
        return Err(Status::invalid_argument("the wildcard > can only be the last token of a subject"));
    }
    tenant.subject(subject).or_status()
}

/// Whether a subject without wildcards is one of those that a filter means.
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

/// Where answers go, if anywhere.
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
        return Err(Status::invalid_argument("subject and reply_to are too long together"));
    }
    Ok(Some(reply))
}

/// A queue group, if there is one.
pub(crate) fn queue_group(group: &str) -> Result<Option<&str>, Status> {
    let bad = |character: char| character.is_whitespace() || character.is_control();
    if group.len() > LONGEST_GROUP || group.contains(bad) {
        return Err(Status::invalid_argument(format!(
            "a queue group has no white space or control characters, and at most {LONGEST_GROUP} bytes"
        )));
    }
    Ok((!group.is_empty()).then_some(group))
}

/// Headers of printable ASCII: on anything else NATS clients disagree, and some fall over.
pub(crate) fn to_header_map(
    allowed: &HashSet<String>,
    headers: &BTreeMap<String, String>,
) -> Result<Option<HeaderMap>, Status> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        check_header(allowed, name, value)?;
        let bad = |_| Status::invalid_argument("a header that NATS does not take");
        let name: HeaderName = name.parse().map_err(bad)?;
        let value: HeaderValue = value.parse().map_err(|_| bad_header_value())?;
        map.insert(name, value);
    }
    Ok((!map.is_empty()).then_some(map))
}

fn check_header(allowed: &HashSet<String>, name: &str, value: &str) -> Result<(), Status> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
        return Err(Status::invalid_argument("a header's name is printable ASCII without spaces and colons"));
    }
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return Err(bad_header_value());
    }
    let lower = name.to_ascii_lowercase();
    let steers = lower.starts_with("nats-") || lower.starts_with("kv-");
    if steers && !allowed.contains(&lower) {
        return Err(Status::invalid_argument(
            "headers beginning with Nats- or KV- are not the client's to set",
        ));
    }
    Ok(())
}

fn bad_header_value() -> Status {
    Status::invalid_argument("a header's value is printable ASCII")
}

/// NATS's headers as a client gets them.
pub(crate) fn to_headers(headers: Option<&HeaderMap>) -> BTreeMap<String, String> {
    let joined =
        |values: &Vec<HeaderValue>| values.iter().map(HeaderValue::as_str).collect::<Vec<_>>().join(", ");
    let headers = headers.into_iter().flat_map(HeaderMap::iter);
    headers.map(|(name, values)| (name.to_string(), joined(values))).collect()
}

/// Bytes of headers as they go over NATS; 0 if there are none.
pub(crate) fn header_length(headers: Option<&HeaderMap>) -> usize {
    let Some(headers) = headers else { return 0 };
    let lines = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(|value| name.len() + value.as_str().len() + ": \r\n".len())
    });
    "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>()
}

/// A duration of a request; none if it is unset.
pub(crate) fn duration(
    field: &str,
    duration: Option<&prost_types::Duration>,
) -> Result<Option<Duration>, Status> {
    let bad = || Status::invalid_argument(format!("{field} is not a duration of 0 to {LONGEST_YEARS} years"));
    duration
        .map(|duration| read_duration(duration).filter(|read| *read <= LONGEST).ok_or_else(bad))
        .transpose()
}

/// A duration of a request that is only to wait for something: what is negative is nothing.
pub(crate) fn patience(duration: Option<&prost_types::Duration>, default: Duration) -> Duration {
    duration.map_or(default, |duration| read_duration(duration).unwrap_or_default().min(LONGEST))
}

/// None if it is negative. The conversion of prost-types does not take all numbers.
fn read_duration(duration: &prost_types::Duration) -> Option<Duration> {
    let seconds = Duration::from_secs(duration.seconds.try_into().ok()?);
    seconds.checked_add(Duration::from_nanos(duration.nanos.try_into().ok()?))
}

/// A time of a request, as JetStream takes it; none if it is not of the years 1 to 9999.
pub(crate) fn read_time(time: &Timestamp) -> Option<DateTime> {
    let valid = TIMES.contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    let nanoseconds = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    async_nats::datetime::from_nanos(nanoseconds).ok().filter(|_| valid)
}

pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

/// A time of JetStream's; none for the year 1, which is its way to say so.
pub(crate) fn date(date: DateTime) -> Option<Timestamp> {
    let time = SystemTime::from(date);
    (time > SystemTime::UNIX_EPOCH).then(|| timestamp(time))
}

/// A number that, should it not fit, is as large as it can be.
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
