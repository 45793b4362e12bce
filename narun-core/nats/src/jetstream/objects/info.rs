use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The description of an object, as clients store it (ADR-20). A null counts as a missing field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectInfo {
    /// Its name in the bucket.
    pub name: String,
    /// A text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names and values that the writer set.
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: HashMap<String, String>,
    /// Headers, kept as other clients wrote them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Value>,
    /// How it is stored.
    #[serde(default)]
    pub options: Option<ObjectOptions>,
    /// Its bucket.
    #[serde(default, deserialize_with = "or_default")]
    pub bucket: String,
    /// The token of its chunks' subject.
    #[serde(default, deserialize_with = "or_default")]
    pub nuid: String,
    /// Its size in bytes.
    #[serde(default, deserialize_with = "or_default")]
    pub size: usize,
    /// How many chunks it has.
    #[serde(default, deserialize_with = "or_default")]
    pub chunks: usize,
    /// When the writer stored it, as a date of RFC 3339. The time of the description's message is that of the server.
    #[serde(default, rename = "mtime", skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// Its digest, as [`digest_text`](super::digest_text) makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether it is deleted.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

/// How an object is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectOptions {
    /// The object that this one stands for, kept as other clients wrote it. `None` if it has content of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Value>,
    /// The most bytes of a chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_chunk_size: Option<usize>,
}

impl ObjectInfo {
    /// The bucket and the name of the object that this one is a link to. The name is empty if the link is to a whole bucket.
    /// Returns `None` if this is no link.
    pub fn link(&self) -> Option<(&str, &str)> {
        let link = self.options.as_ref()?.link.as_ref()?;
        let text = |field: &str| link[field].as_str().unwrap_or_default();
        Some((text("bucket"), text("name")))
    }
}

fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}
