//! What every read could log is logged once, with the number of the others.

use std::fmt;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::*;
use crate::error::Result;
use crate::store::{LayeredStore, Operation, StoreLayer};

/// Collects the fields `withheld` of warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<u64>>>);

struct Withheld(Option<u64>);

impl Visit for Withheld {
    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "withheld" {
            self.0 = Some(value);
        }
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut withheld = Withheld(None);
        event.record(&mut withheld);
        self.0.lock().expect("unpoisoned").extend(withheld.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A right that was taken away.
#[derive(Debug)]
struct Refused;

impl StoreLayer for Refused {
    async fn around<T: Send>(&self, operation: Operation, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match operation {
            Operation::Get => Err(Error::new(ErrorKind::Config, "the user may not read")),
            _ => call.await,
        }
    }
}

#[tokio::test]
async fn a_store_that_refuses_every_read_is_logged_once_in_ten_seconds() {
    let warnings = Warnings::default();
    // While there is one subscriber only, what another test's thread logs first is off for all threads.
    let _second = tracing::Dispatch::new(Warnings::default());
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let clock = ManualClock::new();
    let store = LayeredStore::around(MemoryStore::new("t").with_clock(Arc::new(clock.clone())), Refused);
    let builder = Cache::builder("row").clock(Arc::new(clock.clone())).shared(store).loader(Database::free());
    let cache = builder.build().expect("a cache");
    for _ in 0..100 {
        cache.get(&7).await.expect("from the database");
    }
    clock.advance(Duration::from_secs(10));
    cache.get(&7).await.expect("from the database");
    assert_eq!(*warnings.0.lock().expect("unpoisoned"), [0, 99]);
}
