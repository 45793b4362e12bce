use std::collections::HashMap;
use std::time::Duration;

use data_encoding::BASE64URL;
use narun_core::ExchangeId;
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{BodyStore, BodyStoreError};
use crate::jetstream::api::ApiError;

/// The most bodies that are looked at in one sweep: each is a request or two.
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
    /// The server's time.
    ts: String,
}

#[derive(Deserialize)]
struct SubjectCounts {
    /// Null if there are none. At most 100,000, which may leave out descriptions.
    #[serde(default)]
    subjects: Option<HashMap<String, u64>>,
}

/// Whether the name of a body has this token. Other objects are not deleted.
fn is_body(token: &str) -> bool {
    let name = BASE64URL.decode(token.as_bytes()).ok().and_then(|name| String::from_utf8(name).ok());
    name.is_some_and(|name| name.split_once('-').is_some_and(|(id, _)| id.parse::<ExchangeId>().is_ok()))
}

impl BodyStore {
    /// Some of the bodies that have not changed for `age`, by the clock of the server.
    pub(in crate::jetstream) async fn old(&self, age: Duration) -> Result<Vec<OldBody>, BodyStoreError> {
        let operation = format!("STREAM.INFO.{}", self.stream);
        let found: Subjects = self.api.request(&operation, &json!({ "subjects_filter": ">" })).await?;
        let now = OffsetDateTime::parse(&found.ts, &Rfc3339);
        let now =
            now.map_err(|_| BodyStoreError::Unavailable("the server did not tell its time".to_owned()))?;
        let subjects = found.state.subjects.unwrap_or_default();
        let (chunks, descriptions) = (self.chunk_prefix(), self.description_prefix());
        let mut old = Vec::new();
        let tokens = subjects.keys().filter_map(|subject| subject.strip_prefix(&chunks));
        // In the random order of the map, so that no body is left out for ever.
        for token in tokens.filter(|token| is_body(token)).take(MOST) {
            let description = self.api.last_message(&self.stream, &format!("{descriptions}{token}")).await?;
            let is_whole = description.is_some();
            let last = match description {
                Some(description) => Some(description),
                None => self.api.last_message(&self.stream, &format!("{chunks}{token}")).await?,
            };
            let Some(last) = last else { continue };
            if now - last.message.time >= age {
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
