//! What a test's process logs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::eventually;

/// The fields of an event by name. Its text is the field `message`.
pub type LoggedFields = BTreeMap<&'static str, String>;

/// Keeps all events at INFO and above, of all tests of the process: a subscriber for each thread would disturb the others,
/// as `tracing` caches interest for all of them. Tests tell their events by the name of their app.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<Mutex<Vec<(Level, LoggedFields)>>>);

#[derive(Default)]
struct Fields(LoggedFields);

impl Logs {
    /// Installs the subscriber of the process, the first time, and returns its log.
    ///
    /// # Panics
    ///
    /// If there is another subscriber.
    pub fn capture() -> &'static Self {
        static LOGS: LazyLock<Logs> = LazyLock::new(|| {
            let logs = Logs::default();
            let subscriber = tracing_subscriber::registry().with(logs.clone());
            tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
            logs
        });
        &LOGS
    }

    /// The events so far with this text, whose other fields have these values.
    pub fn events(&self, message: &str, fields: &[(&str, &str)]) -> Vec<(Level, LoggedFields)> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has =
            |event: &LoggedFields, name: &str, value: &str| event.get(name).is_some_and(|it| it == value);
        let matches = |event: &LoggedFields| {
            has(event, "message", message) && fields.iter().all(|(name, value)| has(event, name, value))
        };
        events.iter().filter(|(_, event)| matches(event)).cloned().collect()
    }

    /// Waits for an event with this text and these fields, and returns the first one.
    ///
    /// # Panics
    ///
    /// If there is none within a minute.
    pub async fn event(&self, message: &str, fields: &[(&str, &str)]) -> (Level, LoggedFields) {
        let mut found = Vec::new();
        eventually(message, async || {
            found = self.events(message, fields);
            !found.is_empty()
        })
        .await;
        found.swap_remove(0)
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = *event.metadata().level();
        if level <= Level::INFO {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((level, fields.0));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
