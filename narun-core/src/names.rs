//! Names of apps and namespaces, and the NATS subjects, streams and buckets named after them.
//!
//! | subject | messages |
//! |---|---|
//! | `call.<namespace>.<app>` | direct requests; consumers subscribe in the queue group `<app>` |
//! | `task.<namespace>.<app>` | durable requests, captured by the stream `<namespace>` |
//! | `dead.<namespace>.<app>` | dead letters, captured by the stream `<namespace>-dead` |
//!
//! ```
//! use narun_core::{App, Namespace};
//!
//! let app = App::new("hello")?;
//! assert_eq!(Namespace::default().call_subject(&app), "call.TASK.hello");
//! assert_eq!(App::new("a.b").unwrap_err().to_string(), "'.' at byte 1 of a name is not one of A-Z a-z 0-9 _ -");
//! # Ok::<(), narun_core::NameError>(())
//! ```

use std::fmt;
use std::str::FromStr;

/// Longest name, in bytes.
const LONGEST: usize = 64;

/// The name of an app: a gateway's routes lead to apps, and consumers serve them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct App(String);

/// The name of a namespace, which separates apps of the same name. Its durable requests are in the stream of the same
/// name. Default `TASK`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(String);

/// The error of an invalid name. A valid name is one NATS token of `[A-Za-z0-9_-]`, 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    #[error("a name is empty")]
    Empty,
    /// The name is longer than 64 bytes.
    #[error("a name of {length} bytes is over the limit of 64")]
    TooLong {
        /// The length of the name in bytes.
        length: usize,
    },
    /// The name has a character that is not allowed.
    #[error("{character:?} at byte {position} of a name is not one of A-Z a-z 0-9 _ -")]
    BadCharacter {
        /// The first such character.
        character: char,
        /// The byte at which the character begins, from 0.
        position: usize,
    },
}

impl App {
    /// Creates the name from its text.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the text is not a valid name.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        checked(name.into()).map(Self)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Namespace {
    /// Creates the name from its text.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the text is not a valid name.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        checked(name.into()).map(Self)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the subject of direct requests to `app`: `call.<namespace>.<app>`.
    pub fn call_subject(&self, app: &App) -> String {
        format!("call.{self}.{app}")
    }

    /// Returns the subject of durable requests to `app`: `task.<namespace>.<app>`.
    pub fn task_subject(&self, app: &App) -> String {
        format!("task.{self}.{app}")
    }

    /// Returns the wildcard for durable requests to all apps, which the stream captures: `task.<namespace>.>`.
    pub fn task_subjects(&self) -> String {
        format!("task.{self}.>")
    }

    /// Returns the subject of dead letters of `app`: `dead.<namespace>.<app>`.
    pub fn dead_subject(&self, app: &App) -> String {
        format!("dead.{self}.{app}")
    }

    /// Returns the wildcard for dead letters of all apps: `dead.<namespace>.>`.
    pub fn dead_subjects(&self) -> String {
        format!("dead.{self}.>")
    }

    /// Returns the name of the stream of durable requests: `<namespace>`.
    pub fn task_stream(&self) -> &str {
        &self.0
    }

    /// Returns the name of the stream of dead letters: `<namespace>-dead`.
    pub fn dead_stream(&self) -> String {
        format!("{self}-dead")
    }

    /// Returns the name of the key-value bucket of outcomes: `<namespace>-outcomes`.
    pub fn outcomes_bucket(&self) -> String {
        format!("{self}-outcomes")
    }

    /// Returns the name of the object bucket of bodies that do not fit a message: `<namespace>-bodies`.
    pub fn bodies_bucket(&self) -> String {
        format!("{self}-bodies")
    }
}

/// The namespace `TASK`.
impl Default for Namespace {
    fn default() -> Self {
        Self("TASK".to_owned())
    }
}

fn checked(name: String) -> Result<String, NameError> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > LONGEST {
        return Err(NameError::TooLong { length: name.len() });
    }
    match name.char_indices().find(|(_, character)| !allowed(*character)) {
        Some((position, character)) => Err(NameError::BadCharacter { character, position }),
        None => Ok(name),
    }
}

macro_rules! conversions {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }
    };
}

conversions!(App);
conversions!(Namespace);

#[cfg(test)]
mod tests {
    use super::{App, NameError, Namespace};

    #[test]
    fn names_are_single_tokens() {
        for name in ["a", "A-z_09", "-", &"x".repeat(64)] {
            assert_eq!(App::new(name).unwrap().as_str(), name);
            assert_eq!(name.parse::<Namespace>().unwrap().to_string(), name);
        }
        assert_eq!(App::new(""), Err(NameError::Empty));
        assert_eq!(App::new("x".repeat(65)), Err(NameError::TooLong { length: 65 }));
        for (name, character, position) in [
            ("a.b", '.', 1),
            (">", '>', 0),
            ("a*", '*', 1),
            ("a b", ' ', 1),
            ("aé", 'é', 1),
            ("a\n", '\n', 1),
        ] {
            assert_eq!(Namespace::try_from(name), Err(NameError::BadCharacter { character, position }));
        }
    }

    #[test]
    fn subjects_keep_direct_and_durable_requests_apart() {
        let (namespace, app) = (Namespace::new("jobs").unwrap(), App::new("mail").unwrap());
        assert_eq!(namespace.call_subject(&app), "call.jobs.mail");
        assert_eq!(namespace.task_subject(&app), "task.jobs.mail");
        assert_eq!(namespace.task_subjects(), "task.jobs.>");
        assert_eq!(namespace.dead_subject(&app), "dead.jobs.mail");
        assert_eq!(Namespace::default().as_str(), "TASK");
    }
}
