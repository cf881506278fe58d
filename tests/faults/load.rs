//! A writer that works while something is broken under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cachefront_testkit::shop::Shop;
use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;

/// Updates all rows again and again, ten to a commit, until `updates` rows have been updated.
pub(crate) fn write(shop: &Shop, rows: u64, updates: u64) -> (JoinHandle<()>, Arc<AtomicU64>) {
    let (pool, done) = (shop.pool.clone(), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&done);
    let task = tokio::spawn(async move {
        let mut conn = pool.get_conn().await.expect("a connection");
        let mut first = 1;
        while counter.load(Ordering::SeqCst) < updates {
            conn.exec_drop("UPDATE item SET value = value + 1 WHERE id BETWEEN ? AND ?", (first, first + 9))
                .await
                .expect("rows are updated");
            counter.fetch_add(10, Ordering::SeqCst);
            first = (first + 9) % rows + 1;
        }
    });
    (task, done)
}
