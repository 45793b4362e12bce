//! Names of apps and namespaces, and the NATS subjects made of them.

/// The name of an app: what routes point to and consumers serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct App(String);

/// The name of a namespace, under which apps are told apart; durable requests of it are kept in the stream of the
/// same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(String);

/// A name that is not one NATS token of `[A-Za-z0-9_-]`, 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name")]
pub struct NameError;

impl App {
    /// Checks the name.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what is wrong.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        Ok(Self(name.into()))
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
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The subject of direct requests to `app`: `call.<namespace>.<app>`.
    pub fn call_subject(&self, app: &App) -> String {
        format!("call.{}.{}", self.0, app.0)
    }
}

/// `TASK`.
impl Default for Namespace {
    fn default() -> Self {
        Self("TASK".to_owned())
    }
}
