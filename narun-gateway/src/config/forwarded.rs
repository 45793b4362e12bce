//! The values of `forwarded` and `trusted_proxies`.

use serde::de::{Deserialize, Deserializer};

use super::value::{FromText, text};
use crate::{Cidr, ForwardedPolicy};

/// A block of addresses as it is read from a list.
struct Block(Cidr);

/// The blocks of `trusted_proxies`.
pub(super) struct Blocks(pub(super) Vec<Cidr>);

impl FromText for ForwardedPolicy {
    const EXPECTED: &'static str = "`append`, `replace` or `off`";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "append" => Ok(Self::Append),
            "replace" => Ok(Self::Replace),
            "off" => Ok(Self::Off),
            other => Err(format!("`{other}` is not {}", Self::EXPECTED)),
        }
    }
}

impl FromText for Cidr {
    const EXPECTED: &'static str = "a block of addresses such as `10.0.0.0/8`";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("`{text}` is not {}: {error}", Self::EXPECTED))
    }
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let blocks = Vec::<Block>::deserialize(deserializer)?;
        Ok(Self(blocks.into_iter().map(|Block(block)| block).collect()))
    }
}
