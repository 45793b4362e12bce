use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};

use super::value::{self, FromText};
use crate::route::host::HostPattern;

/// An address to listen on: `:8080` for all addresses of the machine, or `host:8080` with a name, an IPv4 address, or an IPv6
/// address in brackets. With port 0, the system chooses a port.
///
/// Its `Display` is the text of the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddr {
    text: String,
    /// `None` for all addresses.
    host: Option<String>,
    port: u16,
}

/// A text that is not a valid [`ListenAddr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("an address to listen on is `:port` or `host:port`")]
pub struct ParseListenAddrError;

impl ListenAddr {
    /// The address of the loopback interface.
    pub(super) fn local(port: u16) -> Self {
        let host = "127.0.0.1";
        Self { text: format!("{host}:{port}"), host: Some(host.to_owned()), port }
    }

    pub(super) fn all(port: u16) -> Self {
        Self { text: format!(":{port}"), host: None, port }
    }

    /// The addresses to try in this order until one can be bound, each `host:port`.
    ///
    /// Without a host, these are `[::]`, which includes IPv4 on most systems, and `0.0.0.0` for machines without IPv6. With a
    /// host, it is the only one, and its name may have to be resolved.
    pub fn candidates(&self) -> Vec<String> {
        let port = self.port;
        match &self.host {
            Some(host) => vec![format!("{host}:{port}")],
            None => vec![format!("[::]:{port}"), format!("0.0.0.0:{port}")],
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ParseListenAddrError;

    fn from_str(text: &str) -> Result<Self, ParseListenAddrError> {
        let (host, port) = text.rsplit_once(':').ok_or(ParseListenAddrError)?;
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseListenAddrError);
        }
        let port = port.parse().map_err(|_| ParseListenAddrError)?;
        let host = match (host, HostPattern::parse(Some(host))) {
            ("", _) => None,
            (host, Ok(HostPattern::Exact(_))) => Some(host.to_owned()),
            _ => return Err(ParseListenAddrError),
        };
        Ok(Self { text: text.to_owned(), host, port })
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromText for ListenAddr {
    const EXPECTED: &'static str = "an address to listen on, `:port` or `host:port`";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("`{text}`: {error}"))
    }
}

impl<'de> Deserialize<'de> for ListenAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        value::text(deserializer)
    }
}
