use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;
use narun_core::{App, Namespace};
use narun_nats::{AccessError, NatsAccess};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::variable::expand;
use crate::FieldCallerHook;

/// One day.
const DAY: u64 = 86_400;

/// A value that is a text in the file. Checked while it is read, so that errors have their place.
pub(super) trait FromText: Sized {
    /// What is expected, for the error about a value that is not a text.
    const EXPECTED: &'static str;

    /// Parses the text. The error says why it is invalid.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// Reads a text.
pub(super) fn text<'de, T: FromText, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_str(TextVisitor(PhantomData))
}

/// Parses a text of the file, after its environment variables are replaced.
pub(super) fn parse<T: FromText, E: Error>(text: &str) -> Result<T, E> {
    let text = expand(text, |name| std::env::var(name).ok()).map_err(E::custom)?;
    T::from_text(&text).map_err(E::custom)
}

/// Reads the text of an optional key. A key without a value is an error.
pub(super) fn given_text<'de, T: FromText, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    text(deserializer).map(Some)
}

/// Reads the value of an optional key. A key without a value is an error.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The URL of a NATS server. While it is read it may have a password, which neither debug output nor errors show.
#[derive(Clone, PartialEq)]
pub(super) struct NatsUrl(String);

/// A duration of at most `MAX` seconds. The longest timeout is one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seconds<const MAX: u64 = DAY>(Duration);

/// How long something is kept, at most ten years.
pub(super) type Age = Seconds<{ 3650 * DAY }>;

struct TextVisitor<T>(PhantomData<T>);

struct SecondsVisitor<const MAX: u64>;

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        parse(text)
    }
}

impl NatsUrl {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Moves user and password, if the URL has them, into the other settings.
    pub(super) fn without_user(self, access: &mut NatsAccess) -> Result<Self, AccessError> {
        match access.take_from([self.as_str()])?.pop() {
            Some(address) if self.0.contains('@') => Ok(Self(address.as_url_str().to_owned())),
            _ => Ok(self),
        }
    }
}

impl Default for NatsUrl {
    fn default() -> Self {
        Self("nats://localhost:4222".to_owned())
    }
}

impl fmt::Debug for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.rsplit_once('@') {
            Some((_, server)) => write!(f, "\"…@{server}\""),
            None => write!(f, "{:?}", self.0),
        }
    }
}

impl FromText for NatsUrl {
    const EXPECTED: &'static str = "the URL of a NATS server";

    fn from_text(text: &str) -> Result<Self, String> {
        match text.parse::<ServerAddr>() {
            Ok(address) if !address.host().is_empty() => Ok(Self(text.to_owned())),
            Ok(_) => Err("the URL of a NATS server has no host".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl FromText for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("the text is empty: leave out the key".to_owned()),
            text => Ok(text.to_owned()),
        }
    }
}

impl FromText for PathBuf {
    const EXPECTED: &'static str = "the path of a file";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("the path is empty: leave out the key".to_owned()),
            path => Ok(Self::from(path)),
        }
    }
}

impl FromText for App {
    const EXPECTED: &'static str = "the name of an app";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("`{text}` cannot be the name of an app: {error}"))
    }
}

impl FromText for Namespace {
    const EXPECTED: &'static str = "the name of a stream";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::new(text).map_err(|error| format!("`{text}` cannot be the name of a stream: {error}"))
    }
}

impl FromText for FieldCallerHook {
    const EXPECTED: &'static str = "the name of a field, or `none`";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::none()),
            name => name
                .parse()
                .map(Self::new)
                .map_err(|_| format!("expected the name of a field, or `none`, and not `{text}`")),
        }
    }
}

impl<const MAX: u64> From<Seconds<MAX>> for Duration {
    fn from(Seconds(duration): Seconds<MAX>) -> Self {
        duration
    }
}

impl<'de, const MAX: u64> Deserialize<'de> for Seconds<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

impl<const MAX: u64> Visitor<'_> for SecondsVisitor<MAX> {
    type Value = Seconds<MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number of seconds over 0, at most {MAX}")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds<MAX>, E> {
        match Duration::from_secs(seconds) {
            duration if !duration.is_zero() && duration.as_secs() <= MAX => Ok(Seconds(duration)),
            _ => Err(E::invalid_value(Unexpected::Unsigned(seconds), &self)),
        }
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Seconds<MAX>, E> {
        match u64::try_from(seconds) {
            Ok(seconds) => self.visit_u64(seconds),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(seconds), &self)),
        }
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Seconds<MAX>, E> {
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() && duration <= Duration::from_secs(MAX) => {
                Ok(Seconds(duration))
            }
            _ => Err(E::invalid_value(Unexpected::Float(seconds), &self)),
        }
    }
}
