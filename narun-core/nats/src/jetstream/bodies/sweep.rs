use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use data_encoding::BASE64URL;
use narun_core::ExchangeId;
use serde::Deserialize;
use serde_json::json;

use super::{BodyStore, BodyStoreError};
use crate::jetstream::api::ApiError;

/// The most bodies that are looked at in one sweep: each is a request.
const MOST: usize = 256;

/// A body that has not changed for a while.
#[derive(Debug)]
pub(in crate::jetstream) struct OldBody {
    token: String,
    /// Whether it was stored to its end.
    pub(in crate::jetstream) is_whole: bool,
}

/// A part of the information about a stream.
#[derive(Deserialize)]
struct Subjects {
    state: SubjectCounts,
}

#[derive(Deserialize)]
struct SubjectCounts {
    /// Null if there are none.
    #[serde(default)]
    subjects: Option<HashMap<String, u64>>,
}

/// Whether the name of a body has this token. Other objects are not deleted.
fn is_body(token: &str) -> bool {
    let name = BASE64URL.decode(token.as_bytes()).ok().and_then(|name| String::from_utf8(name).ok());
    name.is_some_and(|name| name.split_once('-').is_some_and(|(id, _)| id.parse::<ExchangeId>().is_ok()))
}

impl BodyStore {
    /// Some of the bodies that have not changed for `age`.
    pub(in crate::jetstream) async fn old(&self, age: Duration) -> Result<Vec<OldBody>, BodyStoreError> {
        let operation = format!("STREAM.INFO.{}", self.stream);
        let found: Subjects = self.api.request(&operation, &json!({ "subjects_filter": ">" })).await?;
        let subjects = found.state.subjects.unwrap_or_default();
        let (chunks, descriptions) = (self.chunk_prefix(), self.description_prefix());
        let mut old = Vec::new();
        let tokens = subjects.keys().filter_map(|subject| subject.strip_prefix(&chunks));
        // In the random order of the map, so that no body is left out for ever.
        for token in tokens.filter(|token| is_body(token)).take(MOST) {
            let description = format!("{descriptions}{token}");
            let is_whole = subjects.contains_key(&description);
            let last = if is_whole { description } else { format!("{chunks}{token}") };
            let Some(last) = self.api.last_message(&self.stream, &last).await? else { continue };
            let since = SystemTime::now().duration_since(last.message.time.into()).unwrap_or_default();
            if since >= age {
                old.push(OldBody { token: token.to_owned(), is_whole });
            }
        }
        Ok(old)
    }

    /// Deletes such a body.
    pub(in crate::jetstream) async fn delete_old(&self, body: &OldBody) -> Result<(), ApiError> {
        self.purge(&body.token).await
    }

    fn chunk_prefix(&self) -> String {
        format!("$O.{}.C.", self.bucket)
    }

    fn description_prefix(&self) -> String {
        format!("$O.{}.M.", self.bucket)
    }
}
