//! The documented spans, seen by a subscriber.

use std::fmt;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

/// Collects spans as lines: the name, then the fields in the order in which they get values.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push_str(&format!(" {}={value}", field.name()));
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock().expect("unpoisoned");
        let mut line = span.metadata().name().to_owned();
        span.record(&mut Line(&mut line));
        spans.push(line);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = self.0.lock().expect("unpoisoned");
        values.record(&mut Line(&mut spans[span.into_u64() as usize - 1]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn loads_have_the_documented_spans() {
    let spans = Spans::default();
    // While there is one subscriber only, a span that another test's thread enters first is off for all threads.
    let _second = tracing::Dispatch::new(Spans::default());
    let _guard = tracing::subscriber::set_default(spans.clone());
    let database = Database::free();
    let cache = Cache::builder("row").loader(database.clone()).build().expect("a cache");
    let cache: Cache<u64, u64> = cache;
    cache.get(&7).await.expect("a value");
    cache.get_many([7, 8, 9]).await.expect("values");
    database.0.fails.store(true, Ordering::SeqCst);
    cache.get(&5).await.expect_err("no database");
    assert_eq!(
        *spans.0.lock().expect("unpoisoned"),
        [
            "cachefront.load cache=row key=row:7 purpose=miss outcome=stored",
            "cachefront.load_many cache=row keys=2",
            "cachefront.load cache=row key=row:5 purpose=miss outcome=load",
        ]
    );
}
