//! Lists that depend on many rows: a row's change invalidates the tag of its list, in all processes and at every level.

use std::time::Duration;

use cachefront::binlog::read_position;
use cachefront::{Cache, CacheBuilder, LoadCx, Loader, Local, Tier};
use cachefront_testkit::shop::Shop;
use cachefront_testkit::wait;
use mysql_async::{Pool, prelude::Queryable};

/// Number of lists.
const LISTS: u64 = 3;

/// The sum of a list's values: the rows whose id has this remainder.
#[derive(Clone)]
struct Sums(Pool);

impl Loader<u64, u64> for Sums {
    type Error = mysql_async::Error;

    async fn load(&self, list: &u64, cx: &LoadCx) -> Result<Option<u64>, mysql_async::Error> {
        let mut conn = self.0.get_conn().await?;
        if let Ok((position, server)) = read_position(&mut conn).await {
            cx.position(position);
            cx.origin(&server);
        }
        cx.tag("all");
        sum(&mut conn, *list).await.map(Some)
    }
}

async fn sum(conn: &mut mysql_async::Conn, list: u64) -> Result<u64, mysql_async::Error> {
    let query = "SELECT CAST(COALESCE(SUM(value), 0) AS UNSIGNED) FROM item WHERE id % ? = ?";
    Ok(conn.exec_first(query, (LISTS, list)).await?.unwrap_or_default())
}

async fn builder(shop: &Shop) -> CacheBuilder<u64, u64> {
    let table = format!("{}.item", shop.database.name());
    Cache::builder("sums")
        .shared(shop.store().await)
        .loader(Sums(shop.pool.clone()))
        .tags_of(|list| vec![format!("list:{list}")])
        .depends_on_tags(table.as_str(), &["id"], |row| Ok(vec![format!("list:{}", row.get::<u64>("id")? % LISTS)]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_row_invalidates_its_list_in_every_process() {
    let shop = Shop::open(9).await;
    let local = Local::max_weight(1 << 20);
    let caches = [
        builder(&shop).await.local(local).build().expect("a cache"),
        builder(&shop).await.local(local).build().expect("a cache"),
    ];
    let cdc = shop.run(&caches[0]).await;
    for cache in &caches {
        wait::until_async("all lists are served by this process", Duration::from_secs(30), async || {
            let hits = cache.get_many(0..LISTS).detailed().await.expect("values");
            hits.iter().all(|hit| hit.tier == Tier::Local)
        })
        .await;
    }
    let mut conn = shop.pool.get_conn().await.expect("a connection");
    for (statement, list) in [
        ("UPDATE item SET value = 100 WHERE id = 4", 1),
        ("INSERT INTO item VALUES (11, 5)", 2),
        ("DELETE FROM item WHERE id = 9", 0),
        ("UPDATE item SET id = 31 WHERE id = 1", 1),
    ] {
        shop.database.execute(statement).await;
        let token = read_position(&mut conn).await.expect("a position").0;
        let expected = sum(&mut conn, list).await.expect("a sum");
        for cache in &caches {
            let mine = cache.get(&list).at_least(&token).await.expect("a value");
            assert_eq!(mine, Some(expected), "a session reads its write: {statement}");
            wait::until_async("a plain read has the new sum", Duration::from_secs(10), async || {
                cache.get(&list).await.expect("a value") == Some(expected)
            })
            .await;
            let other = cache.get(&((list + 1) % LISTS)).detailed().await.expect("a value");
            assert_ne!(other.tier, Tier::Database, "{statement}");
        }
    }
    caches[1].invalidate_tag("all").await.expect("invalidated");
    for list in 0..LISTS {
        assert!(caches[1].peek(&list).await.expect("the store").is_none());
    }
    cdc.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_list_is_stale_at_rest_nor_behind_its_token() {
    let shop = Shop::open(9).await;
    let caches = [builder(&shop).await.build().expect("a cache"), builder(&shop).await.build().expect("a cache")];
    let cdc = shop.run(&caches[0]).await;
    let readers = caches.clone().map(|cache| {
        tokio::spawn(async move {
            for _ in 0..150 {
                cache.get_many(0..LISTS).await.expect("values");
                // sleep: readers of a service come at their own pace.
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        })
    });
    for number in 0..120_u64 {
        let id = number % 9 + 1;
        let token = shop.increment(id).await;
        // The rows of the list have been raised by this many so far.
        let raised = (0..=number).filter(|before| (before % 9 + 1) % LISTS == id % LISTS).count() as u64;
        let cache = &caches[(number % 2) as usize];
        assert_eq!(cache.get(&(id % LISTS)).at_least(&token).await.expect("a value"), Some(3 + raised));
    }
    for reader in readers {
        reader.await.expect("joined");
    }
    shop.settle().await;
    for cache in &caches {
        assert_eq!(cache.get_many(0..LISTS).await.expect("values"), [Some(43); 3]);
    }
    cdc.shutdown().await;
}
