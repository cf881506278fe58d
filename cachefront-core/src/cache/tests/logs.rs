//! What every read could log is logged once, with the number of the others.

use super::*;
use crate::error::Result;
use crate::store::{LayeredStore, Operation, StoreLayer};
use crate::testing::Warnings;

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
    assert_eq!(warnings.withheld(), [0, 99]);
}
