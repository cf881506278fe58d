//! A watch whose panics are errors: the mapping, the loader, the sample, the codec and the comparison of values are the user's code,
//! and a panic there must not end the inspector's tasks.

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures_util::FutureExt;

use crate::error::{Error, ErrorKind, Result};
use crate::event::RowChange;
use crate::filter::TableFilter;
use crate::inspect::watch::{AnyValue, Entry, Named, Row, Subject, Watched};
use crate::mode::InvalidationMode;

/// A watch that returns an error where the user's code panics.
pub(super) struct Guarded<W>(pub(super) W);

/// Calls the user's code.
fn caught<T>(what: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    crate::caught::caught(call, || panicked(what))
}

/// Awaits the user's code.
async fn caught_in<T>(what: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| Err(panicked(what)))
}

/// Returns the error of a call that panicked. The panic itself was reported by the hook of the process.
fn panicked(what: &str) -> Error {
    Error::new(ErrorKind::Load, format!("{what} of a watched cache panicked"))
}

#[async_trait]
impl<W: Watched> Watched for Guarded<W> {
    fn cache(&self) -> &str {
        self.0.cache()
    }

    fn mode(&self) -> InvalidationMode {
        self.0.mode()
    }

    fn has_loader(&self) -> bool {
        self.0.has_loader()
    }

    fn table_filter(&self) -> TableFilter {
        self.0.table_filter()
    }

    fn keys(&self, change: &RowChange) -> Result<Named> {
        caught("the mapping", || self.0.keys(change))
    }

    async fn sample(&self, max: usize) -> Result<Vec<Subject>> {
        caught_in("the sample", self.0.sample(max)).await
    }

    async fn peek(&self, subject: &Subject) -> Result<Option<Entry>> {
        caught_in("the codec", self.0.peek(subject)).await
    }

    async fn load(&self, subject: &Subject) -> Result<Row> {
        caught_in("the loader", self.0.load(subject)).await
    }

    async fn equal_ones(&self, entries: &[(Subject, Entry)]) -> Result<Vec<bool>> {
        caught_in("the loader", self.0.equal_ones(entries)).await
    }

    fn is_equal(&self, one: &AnyValue, other: &AnyValue) -> Result<bool> {
        caught("the comparison", || self.0.is_equal(one, other))
    }

    async fn invalidate(&self, subject: &Subject) -> Result<()> {
        caught_in("the cache", self.0.invalidate(subject)).await
    }
}
