//! Fills a cache before it takes traffic, in batches and at a rate: `cargo run --example warm_up`. It needs no server.
//!
//! The hot keys come from a list here; a service would keep one, or read it from its access log. Reads of several callers are
//! merged to batches, and one product cannot be loaded, which costs no other.

#![expect(clippy::print_stdout, reason = "it shows what it does")]

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachefront::{Cache, CacheSettings, LoadCx, LoadedValue, Loader};

/// A database of products that counts its statements.
#[derive(Clone, Default)]
struct Products {
    statements: Arc<AtomicU64>,
}

impl Products {
    /// `SELECT id, title FROM products WHERE id IN (...)`
    fn select(&self, ids: &[u64]) -> HashMap<u64, String> {
        self.statements.fetch_add(1, Ordering::SeqCst);
        ids.iter().filter(|id| **id <= 1_000).map(|id| (*id, format!("product {id}"))).collect()
    }
}

impl Loader<u64, String> for Products {
    type Error = io::Error;

    async fn load(&self, id: &u64, _cx: &LoadCx) -> io::Result<Option<String>> {
        Ok(self.select(&[*id]).remove(id))
    }

    async fn load_each(&self, ids: &[u64], _cx: &LoadCx) -> io::Result<HashMap<u64, io::Result<LoadedValue<String>>>> {
        let mut titles = self.select(ids);
        let mut result = |id: u64| match id {
            13 => Err(io::Error::other("its shard is away")),
            // What is on sale changes soon.
            7 => Ok(LoadedValue::from(titles.remove(&id)).ttl(Duration::from_secs(1))),
            id => Ok(LoadedValue::from(titles.remove(&id))),
        };
        Ok(ids.iter().map(|id| (*id, result(*id))).collect())
    }
}

#[tokio::main]
async fn main() -> cachefront::Result<()> {
    let database = Products::default();
    let products: Cache<u64, String> = Cache::builder("products")
        .settings(CacheSettings::default().with_load_linger(Duration::from_millis(5)))
        .loader(database.clone())
        .build()?;

    // 1,010 keys in batches of 100, at most 20,000 keys per second.
    let report = products.warm_up(1..=1_010).rate(20_000).batch(100).await?;
    println!("warm: {} loaded, {} absent, {} failed", report.loaded, report.absent, report.failed);
    println!("statements: {}", database.statements.load(Ordering::SeqCst));

    // A second warm-up loads what could not be loaded, and nothing else.
    let again = products.warm_up([7_u64, 8, 13]).await?;
    println!("again: {} present, {} failed", again.present, again.failed);

    // Four callers miss at the same time, and cost one statement.
    products.invalidate_many([1, 2, 3, 4]).await?;
    let before = database.statements.load(Ordering::SeqCst);
    let (one, two, three, four) =
        tokio::join!(products.get_many([1]), products.get_many([2]), products.get_many([3]), products.get_many([4]));
    println!("merged: {:?}", [one?, two?, three?, four?].concat());
    println!("statements: {}", database.statements.load(Ordering::SeqCst) - before);
    Ok(())
}
