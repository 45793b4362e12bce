use async_nats::Subject;

use super::tokens::Token;

/// The reply subjects to which narun publishes: those below known inbox prefixes.
///
/// Without it, anyone who may publish a request could make a consumer publish to any subject with the consumer's rights.
#[derive(Clone, Debug)]
pub struct ReplyPolicy {
    prefixes: Vec<String>,
}

/// The longest subject. One near 4 KiB makes the server close the connection; inboxes are far shorter.
const MAX_LENGTH: usize = 512;

impl ReplyPolicy {
    /// Allows subjects below these prefixes. A prefix is a whole number of subject tokens; a trailing `.` may be left out.
    pub fn new(prefixes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let prefixes = prefixes
            .into_iter()
            .map(Into::into)
            .map(|mut prefix: String| {
                if !prefix.ends_with('.') {
                    prefix.push('.');
                }
                prefix
            })
            .collect();
        Self { prefixes }
    }

    /// Returns a random subject below the first prefix. Returns `None` if there is no prefix.
    pub fn absent(&self) -> Option<Subject> {
        let prefix = self.prefixes.first()?;
        Some(format!("{prefix}{}", Token::random().as_str()).into())
    }

    /// Returns whether a message may be published to this subject: it is below a prefix, and has no wildcard, space or empty
    /// token.
    pub fn allows(&self, subject: &str) -> bool {
        subject.len() <= MAX_LENGTH
            && self.prefixes.iter().any(|prefix| subject.starts_with(prefix.as_str()))
            && subject.split('.').all(is_token)
    }
}

/// Allows `_INBOX`, the prefix of NATS clients by default.
impl Default for ReplyPolicy {
    fn default() -> Self {
        Self::new(["_INBOX"])
    }
}

fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*' && byte != b'>')
}

#[cfg(test)]
mod tests {
    use super::ReplyPolicy;

    #[test]
    fn allows_only_plain_subjects_below_a_prefix() {
        let policy = ReplyPolicy::new(["_INBOX", "_GW."]);
        for subject in ["_INBOX.a", "_INBOX.a.b-_C", "_GW.x"] {
            assert!(policy.allows(subject), "{subject}");
        }
        for subject in [
            "",
            "_INBOX",
            "_INBOX.",
            "_INBOXES.a",
            "_INBOX..a",
            "_INBOX.a.",
            "_INBOX.*",
            "_INBOX.a.>",
            "_INBOX.a b",
            "_INBOX.a\r\nPUB x",
            "_INBOX.ä",
            "$JS.API.STREAM.DELETE.X",
            "call.TASK.app",
        ] {
            assert!(!policy.allows(subject), "{subject}");
        }
        assert!(!policy.allows(&format!("_INBOX.{}", "a".repeat(512))));
    }
}
