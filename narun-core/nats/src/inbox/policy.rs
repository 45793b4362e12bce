/// Which reply subjects are answered: those below known inbox prefixes.
///
/// Whoever may publish a request could otherwise make a consumer publish to any subject with the consumer's rights.
#[derive(Clone, Debug)]
pub struct ReplyPolicy {
    prefixes: Vec<String>,
}

/// A subject near 4 KiB makes the server close the connection; inboxes are far shorter.
const MAX_LENGTH: usize = 512;

impl ReplyPolicy {
    /// Allows subjects below these prefixes; each is taken to end at a token's end.
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

    /// Whether a message may be published to this subject.
    pub fn allows(&self, subject: &str) -> bool {
        subject.len() <= MAX_LENGTH
            && self.prefixes.iter().any(|prefix| subject.starts_with(prefix.as_str()))
            && subject.split('.').all(is_token)
    }
}

/// `_INBOX`, the prefix that NATS clients use.
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
