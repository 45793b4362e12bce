use std::fmt;

/// The NATS server does not grant this permission.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the NATS user lacks the permission to {permission} to `{subject}`")]
#[non_exhaustive]
pub struct Denied {
    /// The permission that is missing.
    pub permission: Permission,
    /// The subject of the message or subscription.
    pub subject: String,
}

/// A permission of a NATS user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Permission {
    /// To publish to a subject.
    Publish,
    /// To subscribe to a subject.
    Subscribe,
}

impl Denied {
    /// Creates the error of a missing permission.
    pub const fn new(permission: Permission, subject: String) -> Self {
        Self { permission, subject }
    }

    /// Reads the text of a server's error. Returns `None` if that is about anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("Permissions Violation for ")?;
        let (permission, quoted) = match text.strip_prefix("Publish to ") {
            Some(quoted) => (Permission::Publish, quoted),
            None => (Permission::Subscribe, text.strip_prefix("Subscription to ")?),
        };
        // A queue group may follow.
        let subject = quoted.strip_prefix('"')?.split('"').next()?;
        Some(Self::new(permission, subject.to_owned()))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_servers_are_read() {
        let denied = |permission, subject: &str| Some(Denied::new(permission, subject.to_owned()));
        for (text, expected) in [
            (r#"Permissions Violation for Publish to "call.A.b""#, denied(Permission::Publish, "call.A.b")),
            (r#"Permissions Violation for Subscription to "a.*""#, denied(Permission::Subscribe, "a.*")),
            (
                r#"Permissions Violation for Subscription to "call.A.b" using queue "b""#,
                denied(Permission::Subscribe, "call.A.b"),
            ),
            (r#"Permissions Violation for Publish with Reply of "a""#, None),
            ("Permissions Violation for Publish to", None),
            ("Maximum Connections Exceeded", None),
        ] {
            assert_eq!(Denied::parse(text), expected, "{text}");
        }
    }
}
