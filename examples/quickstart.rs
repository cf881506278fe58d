//! A cache in one process, without any server: `cargo run --example quickstart`.
//!
//! The table is a map here, and the cache keeps values for ten seconds. `redis_binlog` and `redis_kafka` add the change
//! log, which invalidates within milliseconds.

#![expect(clippy::print_stdout, reason = "it shows what it does")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachefront::{Cache, InvalidationMode, Local, loader_fn};

#[tokio::main]
async fn main() -> cachefront::Result<()> {
    let table = Arc::new(Mutex::new(HashMap::from([(1_u64, "Ada".to_owned()), (2, "Grace".to_owned())])));
    let rows = Arc::clone(&table);
    let users: Cache<u64, String> = Cache::builder("users")
        .local(Local::max_weight(64 << 20))
        .ttl(Duration::from_secs(10))
        .negative_ttl(Duration::from_secs(2))
        // There is no change log here, so entries are valid until their time to live is over.
        .mode(InvalidationMode::Ttl)
        .loader(loader_fn(move |id: u64| {
            let row = rows.lock().map(|rows| rows.get(&id).cloned()).unwrap_or_default();
            async move { Ok::<_, std::io::Error>(row) }
        }))
        .build()?;

    for id in [1, 1, 3] {
        let hit = users.get(&id).detailed().await?;
        println!("user {id}: {:?}, from {}", hit.value, hit.tier.as_str());
    }
    // Many keys: one read of the store, and one load for the missing keys.
    println!("{:?}", users.get_many([1, 2, 3]).await?);

    // The cache does not know of this change: it returns the old name until the ten seconds are over.
    table.lock().map(|mut rows| rows.insert(1, "Ada King".to_owned())).unwrap_or_default();
    println!("after a change: {:?}", users.get(&1).await?);
    users.invalidate(&1).await?;
    println!("after an invalidation: {:?}", users.get(&1).await?);
    Ok(())
}
