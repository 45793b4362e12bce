//! A `tracing` subscriber that keeps events.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps the fields of certain events.
#[derive(Clone)]
pub(crate) struct Events {
    kept: Arc<Mutex<Vec<HashMap<String, String>>>>,
    wanted: fn(&Metadata<'_>) -> bool,
}

#[derive(Default)]
struct Fields(HashMap<String, String>);

impl Events {
    pub(crate) fn of(wanted: fn(&Metadata<'_>) -> bool) -> Self {
        Self { kept: Arc::default(), wanted }
    }

    /// Takes the events since the last call.
    pub(crate) fn take(&self) -> Vec<HashMap<String, String>> {
        std::mem::take(&mut *self.kept.lock().unwrap())
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl Subscriber for Events {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if (self.wanted)(event.metadata()) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.kept.lock().unwrap().push(fields.0);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
