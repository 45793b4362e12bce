//! Names of apps and namespaces, and the NATS subjects made of them.
//!
//! | subject | what is sent there |
//! |---|---|
//! | `call.<namespace>.<app>` | direct requests; consumers subscribe in the queue group `<app>` |
//! | `task.<namespace>.<app>` | durable requests, captured by the stream `<namespace>` |
//! | `dead.<namespace>.<app>` | durable requests that were given up, captured by the stream `<namespace>-dead` |
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

/// Bytes of a name, at most.
const LONGEST: usize = 64;

/// The name of an app: what routes point to and consumers serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct App(String);

/// The name of a namespace, under which apps are told apart; durable requests of it are kept in the stream of the
/// same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(String);

/// What is wrong with a name: it has to be one NATS token of `[A-Za-z0-9_-]`, 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is nothing.
    #[error("a name is empty")]
    Empty,
    /// It is longer than 64 bytes.
    #[error("a name of {length} bytes is over the limit of 64")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It has a character that is not allowed.
    #[error("{character:?} at byte {position} of a name is not one of A-Z a-z 0-9 _ -")]
    BadCharacter {
        /// The first such character.
        character: char,
        /// The byte where it begins, from 0.
        position: usize,
    },
}

impl App {
    /// Checks the name.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what is wrong.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        checked(name.into()).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Namespace {
    /// Checks the name.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what is wrong.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        checked(name.into()).map(Self)
    }

    /// The name, which is that of the stream too.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The subject of direct requests to `app`: `call.<namespace>.<app>`.
    pub fn call_subject(&self, app: &App) -> String {
        format!("call.{self}.{app}")
    }

    /// The subject of durable requests to `app`: `task.<namespace>.<app>`.
    pub fn task_subject(&self, app: &App) -> String {
        format!("task.{self}.{app}")
    }

    /// The subjects of durable requests to all apps, which the stream captures: `task.<namespace>.>`.
    pub fn task_subjects(&self) -> String {
        format!("task.{self}.>")
    }

    /// The subject of durable requests to `app` that were given up: `dead.<namespace>.<app>`.
    pub fn dead_subject(&self, app: &App) -> String {
        format!("dead.{self}.{app}")
    }

    /// The subjects of durable requests to all apps that were given up: `dead.<namespace>.>`.
    pub fn dead_subjects(&self) -> String {
        format!("dead.{self}.>")
    }

    /// The stream of durable requests: `<namespace>`.
    pub fn task_stream(&self) -> &str {
        &self.0
    }

    /// The stream of durable requests that were given up: `<namespace>-dead`.
    pub fn dead_stream(&self) -> String {
        format!("{self}-dead")
    }

    /// The key-value bucket of outcomes: `<namespace>-outcomes`.
    pub fn outcomes_bucket(&self) -> String {
        format!("{self}-outcomes")
    }

    /// The object bucket of bodies that do not fit a message: `<namespace>-bodies`.
    pub fn bodies_bucket(&self) -> String {
        format!("{self}-bodies")
    }
}

/// `TASK`.
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
