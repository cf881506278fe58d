//! What a test's thread logs as warnings and errors.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Collects the warnings and errors.
#[derive(Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<Warning>>>);

#[derive(Default)]
struct Warning {
    message: String,
    withheld: Option<u64>,
}

impl Warnings {
    /// Returns the number of messages with these words.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.0.lock().expect("unpoisoned").iter().filter(|warning| warning.message.contains(words)).count()
    }

    /// Returns the fields `withheld`, in the order of the log.
    pub(crate) fn withheld(&self) -> Vec<u64> {
        self.0.lock().expect("unpoisoned").iter().filter_map(|warning| warning.withheld).collect()
    }
}

impl Visit for Warning {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "withheld" {
            self.withheld = Some(value);
        }
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut warning = Warning::default();
        event.record(&mut warning);
        self.0.lock().expect("unpoisoned").push(warning);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
