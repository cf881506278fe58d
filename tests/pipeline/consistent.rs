//! Transactions that change two rows, and readers of both: no reader sees half of one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cachefront::binlog::{read_position, read_upper_bound};
use cachefront::{Cache, LoadCx, Loader, Position, Tier};
use cachefront_testkit::shop::Shop;
use mysql_async::{Pool, TxOpts, prelude::Queryable};

/// Number of transactions.
const TRANSACTIONS: u64 = 300;

/// Loads many rows by one statement, and says what the server has executed.
#[derive(Clone)]
struct Batches(Pool);

impl Loader<u64, u64> for Batches {
    type Error = mysql_async::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, mysql_async::Error> {
        Ok(self.load_many(&[*key], cx).await?.remove(key))
    }

    async fn load_many(&self, keys: &[u64], cx: &LoadCx) -> Result<HashMap<u64, u64>, mysql_async::Error> {
        let mut conn = self.0.get_conn().await?;
        if let Ok((position, server)) = read_position(&mut conn).await {
            cx.position(position);
            cx.origin(&server);
        }
        let places = vec!["?"; keys.len()].join(",");
        let rows: Vec<(u64, u64)> =
            conn.exec(format!("SELECT id, value FROM item WHERE id IN ({places})"), keys.to_vec()).await?;
        Ok(rows.into_iter().collect())
    }

    async fn executed(&self, cx: &LoadCx) -> Result<Option<Position>, mysql_async::Error> {
        let mut conn = self.0.get_conn().await?;
        let Ok((executed, server)) = read_upper_bound(&mut conn).await else { return Ok(None) };
        cx.origin(&server);
        Ok(Some(executed))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_sees_half_of_a_transaction() {
    let shop = Shop::open(2).await;
    let cache: Cache<u64, u64> = shop.builder().await.loader(Batches(shop.pool.clone())).build().expect("a cache");
    let cdc = shop.run(&cache).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = |consistent: bool| {
        let (cache, done) = (cache.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let (mut reads, mut halves, mut hits) = (0_u64, 0_u64, 0_u64);
            while !done.load(Ordering::SeqCst) {
                let read = cache.get_many([1, 2]);
                let read = if consistent { read.consistent() } else { read };
                let found = read.detailed().await.expect("values");
                reads += 1;
                halves += u64::from(found[0].value != found[1].value);
                hits += u64::from(found.iter().all(|hit| hit.tier != Tier::Database));
                tokio::task::yield_now().await;
            }
            (reads, halves, hits)
        })
    };
    let (plain, consistent) = (reader(false), reader(true));
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    for number in 0..TRANSACTIONS {
        let mut transaction = conn.start_transaction(TxOpts::default()).await.expect("a transaction");
        for id in [1, 2] {
            transaction.exec_drop("UPDATE item SET value = value + 1 WHERE id = ?", (id,)).await.expect("updated");
        }
        transaction.commit().await.expect("committed");
        if number % 4 == 0 {
            // As an eviction does it: one of the two is loaded again, with what is committed by then.
            cache.invalidate(&(number / 4 % 2 + 1)).await.expect("removed");
        }
    }
    shop.settle().await;
    let stable = cache.get_many([1, 2]).await.expect("values");
    assert_eq!(stable, [Some(TRANSACTIONS + 1); 2]);
    let hits = cache.get_many([1, 2]).consistent().detailed().await.expect("values");
    assert!(hits.iter().all(|hit| hit.tier == Tier::Shared && hit.value == Some(TRANSACTIONS + 1)), "{hits:?}");
    done.store(true, Ordering::SeqCst);
    let (plain, consistent) = (plain.await.expect("joined"), consistent.await.expect("joined"));
    println!(
        "plain: {} reads, {} halves; consistent: {} reads, {} from the cache",
        plain.0, plain.1, consistent.0, consistent.2
    );
    assert!(consistent.0 > 0);
    assert_eq!(consistent.1, 0, "halves of transactions");
    cdc.shutdown().await;
}
