//! The injective mapping of tenants' ids and names to NATS names.
//!
//! A tenant is a user or an organization. Its id becomes one token of `[A-Za-z0-9_]`, in which every byte outside
//! `[A-Za-z0-9]` is written `_hh`, its two lower-case hexadecimal digits; so no
//! id reaches another tenant's names, whatever it contains, and a plain id stays as it is.
//!
//! | kind | for a user | for an organization | longest |
//! |---|---|---|---|
//! | subject | `user.{id}.{subject}` | `org.{id}.{subject}` | [`Tenant::LONGEST_SUBJECT`] |
//! | stream | `user-{id}-{name}` | `org-{id}-{name}` | 255 bytes |
//! | KV bucket | `kv-user-{id}-{bucket}` | `kv-org-{id}-{bucket}` | 252 bytes |
//! | object bucket | `obj-user-{id}-{bucket}` | `obj-org-{id}-{bucket}` | 251 bytes |
//!
//! ```
//! use narun_grpc::tenant::Tenant;
//!
//! let (a, ab) = (Tenant::user("a")?, Tenant::user("a-b")?);
//! assert_eq!(a.stream("b-c")?, "user-a-b-c");
//! assert_eq!(ab.stream("c")?, "user-a_2db-c");
//! assert_eq!(ab.own_stream("user-a_2db-c"), Some("c"));
//! assert_eq!(a.own_stream("user-a_2db-c"), None);
//! # Ok::<(), narun_grpc::tenant::TenantError>(())
//! ```

use std::fmt::Write;

/// A user or an organization, whose id is part of its NATS names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    scope: &'static str,
    token: String,
}

/// Why an id or a name is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// It is empty.
    #[error("{what} is empty")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// The NATS name, with the tenant's id in it, is too long.
    #[error("{what} is {excess} bytes too long")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// By how many bytes.
        excess: usize,
    },
    /// It has a character that NATS does not allow.
    #[error("{what} has the invalid character {character:?}")]
    BadCharacter {
        /// The name with that character.
        what: &'static str,
        /// The first such character. A dot in a subject means an empty token.
        character: char,
    },
}

impl Tenant {
    /// The longest subject, in bytes. A server closes the connection if a protocol line is longer than 4 KiB; this leaves
    /// room for the rest of the line.
    pub const LONGEST_SUBJECT: usize = 3072;

    /// The longest escaped id, in bytes: a longer one leaves no room for the name of an object bucket.
    pub const LONGEST_TOKEN: usize = 240;

    /// The user with this id.
    ///
    /// # Errors
    ///
    /// [`TenantError::Empty`] if the id is empty, [`TenantError::TooLong`] if its escaped form is longer than
    /// [`LONGEST_TOKEN`](Self::LONGEST_TOKEN).
    pub fn user(id: &str) -> Result<Self, TenantError> {
        Self::new("user", id, "a user id")
    }

    /// The organization with this id.
    ///
    /// # Errors
    ///
    /// As for [`user`](Self::user).
    pub fn organization(id: &str) -> Result<Self, TenantError> {
        Self::new("org", id, "an organization id")
    }

    fn new(scope: &'static str, id: &str, what: &'static str) -> Result<Self, TenantError> {
        if id.is_empty() {
            return Err(TenantError::Empty { what });
        }
        // Check before allocating: clients choose the ids.
        match escaped_length(id).saturating_sub(Self::LONGEST_TOKEN) {
            0 => Ok(Self { scope, token: escape(id) }),
            excess => Err(TenantError::TooLong { what, excess }),
        }
    }

    /// The NATS name of this subject, which may have wildcards.
    ///
    /// # Errors
    ///
    /// [`TenantError`] if it is empty, too long, or has white space, control characters or an empty token.
    pub fn subject(&self, subject: &str) -> Result<String, TenantError> {
        let what = "a subject";
        let mut before = '.';
        for character in subject.chars() {
            let ends_nothing = character == '.' && before == '.';
            if ends_nothing || character.is_whitespace() || character.is_control() {
                return Err(TenantError::BadCharacter { what, character });
            }
            before = character;
        }
        if before == '.' && !subject.is_empty() {
            return Err(TenantError::BadCharacter { what, character: '.' });
        }
        let name = [self.scope, ".", &self.token, ".", subject].concat();
        limited(what, subject, name, Self::LONGEST_SUBJECT)
    }

    /// The NATS name of this stream.
    ///
    /// # Errors
    ///
    /// [`TenantError`] if it is empty, too long, or has a character that is invalid in stream names.
    pub fn stream(&self, name: &str) -> Result<String, TenantError> {
        let what = "a stream name";
        let bad = |character: &char| {
            character.is_whitespace()
                || character.is_control()
                || ['.', '*', '>', '/', '\\'].contains(character)
        };
        if let Some(character) = name.chars().find(bad) {
            return Err(TenantError::BadCharacter { what, character });
        }
        limited(what, name, [self.scope, "-", &self.token, "-", name].concat(), 255)
    }

    /// The NATS name of this KV bucket.
    ///
    /// # Errors
    ///
    /// [`TenantError`] if it is empty, too long, or has a character outside `[A-Za-z0-9_-]`.
    pub fn kv_bucket(&self, bucket: &str) -> Result<String, TenantError> {
        self.bucket("kv", bucket, 252)
    }

    /// The NATS name of this object bucket.
    ///
    /// # Errors
    ///
    /// [`TenantError`] if it is empty, too long, or has a character outside `[A-Za-z0-9_-]`.
    pub fn object_bucket(&self, bucket: &str) -> Result<String, TenantError> {
        self.bucket("obj", bucket, 251)
    }

    fn bucket(&self, kind: &str, bucket: &str, longest: usize) -> Result<String, TenantError> {
        let what = "a bucket name";
        let good = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        if let Some(character) = bucket.chars().find(|character| !good(*character)) {
            return Err(TenantError::BadCharacter { what, character });
        }
        let name = [kind, "-", self.scope, "-", &self.token, "-", bucket].concat();
        limited(what, bucket, name, longest)
    }

    /// The tenant's name of a NATS subject. Returns `None` if it is not the tenant's.
    pub fn own_subject<'a>(&self, subject: &'a str) -> Option<&'a str> {
        self.own(subject, '.')
    }

    /// The tenant's name of a NATS stream. Returns `None` if it is not the tenant's.
    pub fn own_stream<'a>(&self, stream: &'a str) -> Option<&'a str> {
        self.own(stream, '-')
    }

    /// The tenant's name of a NATS KV bucket. Returns `None` if it is not the tenant's.
    pub fn own_kv_bucket<'a>(&self, bucket: &'a str) -> Option<&'a str> {
        self.own(bucket.strip_prefix("kv-")?, '-')
    }

    /// The tenant's name of a NATS object bucket. Returns `None` if it is not the tenant's.
    pub fn own_object_bucket<'a>(&self, bucket: &'a str) -> Option<&'a str> {
        self.own(bucket.strip_prefix("obj-")?, '-')
    }

    fn own<'a>(&self, name: &'a str, separator: char) -> Option<&'a str> {
        let rest = name.strip_prefix(self.scope)?.strip_prefix(separator)?;
        rest.strip_prefix(&self.token)?.strip_prefix(separator).filter(|own| !own.is_empty())
    }
}

/// Escapes an id to one token: every byte outside `[A-Za-z0-9]` becomes `_hh`, its two lower-case hexadecimal digits.
pub(crate) fn escape(id: &str) -> String {
    let mut token = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() {
            token.push(byte.into());
        } else {
            // Writing to a `String` does not fail.
            let _ = write!(token, "_{byte:02x}");
        }
    }
    token
}

fn escaped_length(id: &str) -> usize {
    id.bytes().map(|byte| if byte.is_ascii_alphanumeric() { 1 } else { 3 }).sum()
}

fn limited(what: &'static str, own: &str, name: String, longest: usize) -> Result<String, TenantError> {
    match name.len().saturating_sub(longest) {
        _ if own.is_empty() => Err(TenantError::Empty { what }),
        0 => Ok(name),
        excess => Err(TenantError::TooLong { what, excess }),
    }
}

#[cfg(test)]
mod tests;
